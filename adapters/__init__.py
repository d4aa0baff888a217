"""What moves bytes between addresses and the gateway."""
