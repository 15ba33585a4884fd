"""Endpoints' secrets as they lie in the database, and new ones."""
