"""Publishing over HTTP, each request with one effect; and finding what was published."""
