"""Jobs, servers, runs and their tasks in the store: whole operations over many rows."""
