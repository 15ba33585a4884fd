"""Inward connectors: what other systems hold enters the log."""
