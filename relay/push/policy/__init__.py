"""What a subscription wants of its requests, and what an answer means. Pure: no clock, no rows."""
