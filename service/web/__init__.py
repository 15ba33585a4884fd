"""HTTP and WebSockets: who asks, within which bounds, and how a refusal looks."""
