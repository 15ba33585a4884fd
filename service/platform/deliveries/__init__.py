"""What became of messages: what waits, what was tried, each subscription in numbers."""
