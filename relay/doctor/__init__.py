"""Whether all that a relay needs is in order: findings, each with what to do."""
