"""Requests, decisions and grants: who may get which items of which rows for which purpose until when."""
