"""How all of it does: relays, the log, who holds vacuum back, and what an operator should see to."""
