"""Control side of movement: nodes, data sources, exchange tasks, runs, receipts, query services, policy snapshots."""
