"""Channels whose messages go to other systems than the relay's own Kafka and endpoints."""
