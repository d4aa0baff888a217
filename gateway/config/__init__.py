"""The configuration: read, filled, checked, compared."""
