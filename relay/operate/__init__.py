"""What operators do to subscriptions, channels and dead letters."""
