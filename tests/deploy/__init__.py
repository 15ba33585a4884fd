"""What deploy/ holds: alerts, the dashboard, manifests."""
