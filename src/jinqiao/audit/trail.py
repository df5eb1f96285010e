"""The tamper-evident trail."""

from contextvars import ContextVar

client_address: ContextVar[str] = ContextVar("client_address", default="")
