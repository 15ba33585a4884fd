"""What the database knows of an endpoint: rows, attempts, its breaker and its rate."""
