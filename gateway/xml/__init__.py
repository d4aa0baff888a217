"""Everything that knows XML: reading in guarded workers, schemas, keys, answers."""
