"""Topics of Kafka whose records enter the log."""
