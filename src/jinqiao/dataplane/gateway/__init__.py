"""The query gateway: one ASGI process that answers single look-ups under a signed policy, and records each call before it answers."""
