"""HTTP and WebSockets: a caller's key, the bounds of a request, and how a refusal looks."""
