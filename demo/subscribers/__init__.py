"""Four subscribers to orders.lifecycle: HTTP servers, each a process with a record of its own."""
