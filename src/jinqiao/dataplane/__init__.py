"""Bytes: connectors, staging, checks, pipeline, node, gateway, evidence. No Django."""
