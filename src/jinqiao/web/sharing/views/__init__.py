"""Views of sharing: lists and records, drafting, replies, grants."""
