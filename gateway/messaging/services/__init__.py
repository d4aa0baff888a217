"""The business functions that ship, and the registry that finds them by action."""
