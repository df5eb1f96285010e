"""Pages of movement: nodes, data sources, bindings, tasks, runs, query services, calls."""
