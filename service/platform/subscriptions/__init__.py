"""Which endpoint gets which messages, and how it is served."""
