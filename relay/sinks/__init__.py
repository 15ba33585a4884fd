"""Where messages go: each sink takes a run's messages and gives back their outcome."""
