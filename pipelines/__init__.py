"""Content steps of a port; none ships yet."""
