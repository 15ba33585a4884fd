"""Who gets what, where, and on which terms."""
