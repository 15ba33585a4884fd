"""Exactly once: a run's cursor is committed with its messages, in one Kafka transaction."""
