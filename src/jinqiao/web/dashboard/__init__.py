"""The city dashboard (驾驶舱)."""
