"""Bodies of requests: read within bounds, decoded into types, refused by the field."""
