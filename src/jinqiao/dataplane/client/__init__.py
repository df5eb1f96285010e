"""Client of the query gateway: signs calls, sends them, reads the answers.

from jinqiao.dataplane.client import GatewayClient

with GatewayClient("https://gateway.example", key_id="ak-…", secret="…") as gateway:
    answer = gateway.query("cx-2026-0001", by={"sfzh": "…"}, items=["xm"], purpose="…", case_number="…")
"""

from jinqiao.dataplane.client.answers import Answer, BatchAnswer, Counted, Found, Page, Verification
from jinqiao.dataplane.client.client import GatewayClient
from jinqiao.dataplane.client.errors import (
    AnswerNotUnderstood,
    GatewayUnreachable,
    KeysNotReadable,
    Refused,
    SecretNotReadable,
)
from jinqiao.dataplane.client.keypair import KeyPair

__all__ = [
    "Answer",
    "AnswerNotUnderstood",
    "BatchAnswer",
    "Counted",
    "Found",
    "GatewayClient",
    "GatewayUnreachable",
    "KeyPair",
    "KeysNotReadable",
    "Page",
    "Refused",
    "SecretNotReadable",
    "Verification",
]
