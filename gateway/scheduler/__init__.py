"""What drives tasks: the streams of event-driven jobs, the engine of timed ones."""
