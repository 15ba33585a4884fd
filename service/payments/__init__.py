"""Payments: webhooks in, orders and checks through their states, messages out."""
