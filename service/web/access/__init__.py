"""Who may call: keys and their scopes, names of the service, pages of other sites."""
