"""Regions, organisations, people, posts and roles, applications."""
