"""Publishing over HTTP, each request with one effect."""
