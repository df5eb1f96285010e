"""The tamper-evident trail of what people did."""
