"""The database as the service knows it: connections, transactions, and a pool of both."""
