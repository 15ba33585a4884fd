"""How all of it does: relays, the log, who holds it back, and what an operator should see to."""
