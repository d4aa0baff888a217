"""What drives tasks: busy periods of event-driven jobs."""
