"""How far it goes: one Postgres, one relay and four, several databases, and what runs out first."""
