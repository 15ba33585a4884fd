"""Every interleaving of small scripts, on real Postgres, as its own isolation tester does it."""
