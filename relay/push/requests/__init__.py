"""A run's requests: in which order they go, how many at once, and the loop that makes them."""
