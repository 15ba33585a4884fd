"""ORDER_PAYMENT_UPDATED over WebSockets, from the log to every process."""
