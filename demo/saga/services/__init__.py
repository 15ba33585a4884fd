"""The four services: each a process with a database, an outbox and an inbox of its own."""
