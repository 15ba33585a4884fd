"""What is counted and told: metrics, health, status."""
