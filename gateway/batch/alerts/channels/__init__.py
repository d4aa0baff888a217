"""The channels by which alerts leave the gateway: e-mail, webhook, command."""
