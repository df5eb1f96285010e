"""Pages of the catalogue: search, entries, drafting, review, workbooks, classification."""
