"""The way of a message: receive, inbound, outbound, send."""
