"""The first page: what waits for the acting post."""
