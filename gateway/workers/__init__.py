"""Processes that do work nobody has to trust: under which account, in which cage, within which limits."""
