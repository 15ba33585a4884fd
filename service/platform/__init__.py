"""The event platform's HTTP API: publishing, subscriptions, and what became of each message."""
