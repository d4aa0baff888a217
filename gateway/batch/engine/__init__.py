"""The batch engine of one server: starts what is due, claims what is ready, carries it out, records its end."""
