"""Client of the query gateway: signs a call, sends it, reads the answer.

from jinqiao.dataplane.client import GatewayClient

with GatewayClient("https://gateway.example", key_id="app-1", secret="…") as gateway:
    answer = gateway.query("hunyin-dengji-001", by={"sfzh": "…"}, items=["xm"], purpose="…", case_number="…")
"""

from jinqiao.dataplane.client.client import Answer, GatewayClient
from jinqiao.dataplane.client.errors import AnswerNotUnderstood, GatewayUnreachable, Refused, SecretNotReadable

__all__ = ["Answer", "AnswerNotUnderstood", "GatewayClient", "GatewayUnreachable", "Refused", "SecretNotReadable"]
