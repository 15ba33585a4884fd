"""Pages for people, over the platform: rendered here, and readable without JavaScript."""
