"""Side by side on real Postgres and real Kafka: this relay, the bare producer, a classic relay."""
