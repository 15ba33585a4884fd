"""The relay process: it probes, hands out to its workers, and keeps the log in order."""
