"""`make demo`: payments, kills and a reckoning, on real Postgres and real Kafka."""
