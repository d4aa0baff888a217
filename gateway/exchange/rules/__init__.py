"""What is true of sessions and their status messages, whatever they are kept in: pure, knows nothing but the domain."""
