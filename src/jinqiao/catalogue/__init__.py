"""Catalogue entries, data items, classification and codes, versions, workbook, search."""
