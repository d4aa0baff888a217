"""The durable store in PostgreSQL: whole operations over many rows, SQL in named statements."""
