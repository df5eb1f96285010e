"""The trail: search, one event, verification."""
