"""The event catalogue as pages: what events there are, what is in them, who listens."""
