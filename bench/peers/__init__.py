"""`make bench-peers`: this relay and what a user would pick instead, in one run, by one clock."""
