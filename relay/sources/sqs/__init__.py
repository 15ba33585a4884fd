"""Messages of a queue of Amazon SQS into the log."""
