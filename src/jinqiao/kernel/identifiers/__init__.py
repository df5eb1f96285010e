"""Identifiers as value types: each parses a text, says exactly what is wrong with it, and gives the parts it is made of."""
