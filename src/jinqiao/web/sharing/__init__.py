"""Pages of requests and grants."""
