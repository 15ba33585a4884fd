"""The service's side of a socket: whom it listens to, for how long, and how much it takes."""
