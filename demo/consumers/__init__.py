"""Two consumers of payment.success, each a process with a database of its own."""
