"""Real servers from pip-installed parts: what compose.yaml does, without containers."""
