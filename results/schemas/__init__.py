"""The JSON Schemas of what Touchstone writes."""
