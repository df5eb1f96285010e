"""Reading movement: what is there, who may see it, and what a grant means in columns."""
