"""The form of evidence of calls, shared by both planes: binding, packs, and the check of them. Plain Python, no network."""
