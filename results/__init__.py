"""What runs produce: the schema, the figures, the store, the report."""
