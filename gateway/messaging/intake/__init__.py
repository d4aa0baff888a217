"""Files become queued messages: lease and capacity of the intake, reading, debatching, writing."""
