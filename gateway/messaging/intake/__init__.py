"""Files become queued messages: whose turn, reading, debatching, writing."""
