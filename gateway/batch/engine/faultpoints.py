"""The named points at which a test can make the delivery of alerts fail."""

FAULT_POINTS = ("alert.before_send", "alert.after_send", "alert.before_commit")
"""Every name it reaches, in the order of an alert's way."""
