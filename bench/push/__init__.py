"""Benchmarks of subscriptions that are pushed to an HTTP endpoint."""
