"""Push: messages to HTTP endpoints, each with its own order, retries and breaker."""
