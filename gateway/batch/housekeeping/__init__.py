"""What was finished long enough ago is removed."""
