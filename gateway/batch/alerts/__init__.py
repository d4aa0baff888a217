"""Alerts: their outbox, their delivery by channels, and what is late."""
