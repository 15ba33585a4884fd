"""One event of the payment provider: verified, routed, applied to an order or a check, once."""
