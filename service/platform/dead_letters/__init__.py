"""What was given up: reading it, sending it again."""
