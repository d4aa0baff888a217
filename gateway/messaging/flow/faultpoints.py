"""The named points at which a test can make a stage fail."""

FAULT_POINTS = (
    "ingest.before_commit",
    "ingest.after_commit",
    "ingest.after_settle",
    "inbound.before_effects",
    "inbound.before_commit",
    "inbound.after_commit",
    "send.before_promise",
    "send.after_promise",
    "send.before_sent",
    "send.after_sent",
)
"""Every name the stages reach, in the order of a message's way."""
