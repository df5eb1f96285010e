"""Organisations, people and posts, applications and their keys, the calendar."""
