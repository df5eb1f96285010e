"""Settings, URLs, processes: the only place that knows everything."""
