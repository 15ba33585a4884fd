"""The commands of `outbox-relay`: settings and arguments in, exit code out."""
