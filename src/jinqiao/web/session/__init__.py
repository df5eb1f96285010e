"""Signing in and out, passwords, choice of post and language."""
