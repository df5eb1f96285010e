"""Machine interface of the control plane."""
