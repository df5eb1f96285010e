"""The calling convention of the national platform, beside our own: four headers instead of a signature of the request.

gjzwfwpt_rid     requester, gjzwfwpt_sid service (one per interface): issued per city, they stand in the policy where there are any
gjzwfwpt_rtime   time of the call in milliseconds
gjzwfwpt_sign    Base64(HMAC-SHA256(sid ‖ rid ‖ rtime, secret))

As the public code bases that follow 《全国一体化政务数据共享数据直达接口规范》 v0.55 do it; it has not been published officially, so it
is this one file and no more. Its signature covers neither path nor body and has no nonce: a second call with the same three
values is refused as a replay whatever its body says, so that a call that was overheard is worth nothing; two calls need two
milliseconds. Answers come as {"code": 200 | 300, "message", "data"}, with names in lower case.
"""

import binascii
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from jinqiao.dataplane.gateway.admission import Caller, Request, check_peer
from jinqiao.dataplane.gateway.nonces import WINDOW_S, NonceStore
from jinqiao.dataplane.gateway.snapshot import OpenedKey, PolicyView
from jinqiao.kernel.errors import JinqiaoError, Language
from jinqiao.kernel.httpsig import (
    KeyUnknown,
    OutsideWindow,
    SignatureMalformed,
    SignatureMissing,
    SignatureWrong,
    SignedBy,
)

PATH = "/gateway/httpproxy"
REQUESTER, SERVICE, TIME, SIGN = "gjzwfwpt_rid", "gjzwfwpt_sid", "gjzwfwpt_rtime", "gjzwfwpt_sign"
HEADERS = frozenset({REQUESTER, SERVICE, TIME, SIGN})
ALGORITHM = "hmac-sha256"
OK, FAILED = 200, 300
_MOST = 64  # characters of an identifier


@dataclass(frozen=True, slots=True)
class NationalCall:
    """The four headers, of their form."""

    requester: str
    service: str
    time_ms: str
    sign: bytes


def is_national(path: str) -> bool:
    """Whether calls of this path come and are answered in the convention."""
    return path == PATH or path.startswith(f"{PATH}/")


def to_sign(call: NationalCall) -> bytes:
    """The order matters: service, requester, time."""
    return f"{call.service}{call.requester}{call.time_ms}".encode()


def read_headers(headers: Mapping[str, str]) -> NationalCall:
    """Raises SignatureMissing, SignatureMalformed."""
    values = {name: headers.get(name, "").strip() for name in HEADERS}
    if not all(values.values()):
        raise SignatureMissing
    for name in (REQUESTER, SERVICE):
        if len(values[name]) > _MOST or not values[name].isascii() or not values[name].isprintable():
            raise SignatureMalformed(field=name)
    if not values[TIME].isascii() or not values[TIME].isdigit() or len(values[TIME]) != 13:
        raise SignatureMalformed(field=TIME)
    try:
        sign = binascii.a2b_base64(values[SIGN], strict_mode=True)
    except (binascii.Error, ValueError) as problem:
        raise SignatureMalformed(field=SIGN) from problem
    return NationalCall(values[REQUESTER], values[SERVICE], values[TIME], sign)


def admit_national(
    request: Request, view: PolicyView, nonces: NonceStore, *, now: float, on: datetime
) -> tuple[Caller, str]:
    """Who calls, and which of our services is meant (empty where its identifier is unknown). `now` is Unix time.

    Raises SignatureMissing, SignatureMalformed, OutsideWindow, KeyUnknown, SignatureWrong, AddressNotAllowed,
    CertificateNotShown, NonceReplayed.
    """
    call = read_headers(request.headers)
    if abs(now - int(call.time_ms) / 1000) > WINDOW_S:
        raise OutsideWindow(window_s=WINDOW_S, now=int(now))
    keys = [key for key in view.requesters.get(call.requester, ()) if key.is_in_use(ALGORITHM, on)]
    if not keys:
        raise KeyUnknown(key_id="")
    data = to_sign(call)
    right = [key for key in keys if key.verifier.is_right(data, call.sign)]
    if not right:
        raise SignatureWrong(key_id=keys[0].key_id)
    key: OpenedKey = right[0]
    check_peer(request.peer, key)
    # without the key's name: the same call must not come again under the application's next key
    once = SignedBy(call.requester, ALGORITHM, f"{call.service}\n{call.time_ms}", int(call.time_ms) // 1000)
    token = nonces.take(once, now)
    return Caller(key.application, key.key_id, token), view.national_services.get(call.service, "")


def answer_body(body: bytes) -> bytes:
    """Our answer in the convention's envelope."""
    return b'{"code":%d,"message":"success","data":%s}' % (OK, body)


def problem_body(error: JinqiaoError, *, language: Language, call_id: str) -> bytes:
    text = error.text(language)
    data = {"code": error.code, "mend": text.mend, "call_id": call_id}
    return json.dumps({"code": FAILED, "message": text.message, "data": data}, ensure_ascii=False).encode("utf-8")
