"""The composition root: builds everything, starts and stops it, reloads the configuration."""
