"""Other clusters that connectors lead to: what their clients are configured with."""
