"""Views of movement, by noun."""
