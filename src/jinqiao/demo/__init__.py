"""The demo city, the same world for manual, screenshots, browser tests and benchmarks."""
