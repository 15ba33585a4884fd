"""The client, at a real service."""
