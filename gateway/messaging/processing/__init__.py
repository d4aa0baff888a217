"""Queued messages become effects and answers: claim, perform, decide, record."""
