"""Runs to Kafka: messages are produced as they are read, and confirmed by one barrier."""
