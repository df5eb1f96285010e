"""Pages for who builds the platform: every component in one place."""
