"""One call from its bytes to its answer: authenticate, permit, look up, record, and only then answer."""

import logging
import os
import re
import time
from collections.abc import Mapping
from datetime import datetime
from functools import lru_cache, partial
from typing import NamedTuple

import orjson
from msgspec import Struct
from msgspec.structs import replace

from jinqiao.dataplane.evidence.errors import ClaimsUnavailable, TokenTaken
from jinqiao.dataplane.evidence.log import EvidenceLog, Token
from jinqiao.dataplane.gateway import national
from jinqiao.dataplane.gateway.admission import Request, admit, check_peer
from jinqiao.dataplane.gateway.answers import Answer, Telling, answer_call, asked_persons
from jinqiao.dataplane.gateway.asked import Question
from jinqiao.dataplane.gateway.cursors import Cursors
from jinqiao.dataplane.gateway.errors import (
    ContentTypeNotTaken,
    MethodNotOffered,
    PathUnknown,
    PolicyExpired,
    PolicyMissing,
    QueryStringNotTaken,
)
from jinqiao.dataplane.gateway.files import FILE_BYTES, read_file_question
from jinqiao.dataplane.gateway.formats import Form, form_of
from jinqiao.dataplane.gateway.home import GatewayHome
from jinqiao.dataplane.gateway.http import (
    BODY_BYTES,
    JSON_TYPE,
    Receive,
    Scope,
    body_at_hand,
    headers_of,
    path_with_query,
    read_body,
)
from jinqiao.dataplane.gateway.keyed import KeyedDigest, answer_salt, salted_digest
from jinqiao.dataplane.gateway.masking import items_for
from jinqiao.dataplane.gateway.nonces import NonceStore
from jinqiao.dataplane.gateway.notices import Header, deprecation
from jinqiao.dataplane.gateway.openapi import Documents
from jinqiao.dataplane.gateway.overload import Gate
from jinqiao.dataplane.gateway.peers import Peer, Peers
from jinqiao.dataplane.gateway.policy import callable_service, permit
from jinqiao.dataplane.gateway.problem import language_of
from jinqiao.dataplane.gateway.questions import read_question
from jinqiao.dataplane.gateway.quota import DayQuota, Taken, Use, has_day_quota
from jinqiao.dataplane.gateway.rate import RateMeter
from jinqiao.dataplane.gateway.routes import SPEAKING_NAME, Route, route_of
from jinqiao.dataplane.gateway.sandbox import Sandbox, examples
from jinqiao.dataplane.gateway.shared_use import SharedUse
from jinqiao.dataplane.gateway.siblings import Siblings
from jinqiao.dataplane.gateway.snapshot import PolicyView
from jinqiao.dataplane.gateway.sources.readers import Reader, Readers
from jinqiao.kernel import moments
from jinqiao.kernel.contracts.evidence import DOCUMENT
from jinqiao.kernel.contracts.policy import Environment, Operation, ServicePolicy
from jinqiao.kernel.errors import JinqiaoError
from jinqiao.kernel.httpsig import KeyUnknown, NonceReplayed
from jinqiao.kernel.moments import CHINA

logger = logging.getLogger(__name__)

SANDBOX_METER = "sandbox "  # no service is called so: its rate is counted apart
RECEIPT_METER = "receipts "  # nor an application: what it confirms has a rate of its own
CALL_ID_BYTES = 16
_BATCH = Operation.BATCH  # to read a member off its class costs a call as much as its masks do (Python 3.11)
_PRODUCTION, _SANDBOX = Environment.PRODUCTION.value, Environment.SANDBOX.value
_ITEM_CODE = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}", re.ASCII)


class Call(Struct, gc=False):  # nothing that it holds can lead back to it
    """What is known of a call so far; the record is made of it, however far it got."""

    call_id: str
    at: datetime
    began: float
    gateway: str
    environment: str = _PRODUCTION
    service: str = ""
    operation: str = Operation.QUERY.value
    address: str = ""
    peer: Peer | None = None
    grant_id: str = ""
    application: str = ""
    key_id: str = ""
    consumer: str = ""
    provider: str = ""
    purpose: str = ""
    case_number: str = ""
    end_user: str = ""
    role: str = ""
    items: tuple[str, ...] = ()
    keys: int = 1
    subjects: tuple[str, ...] = ()
    outcome: str = ""
    rows: int = 0
    request_digest: str = ""
    key_commitment: str = ""
    answer_commitment: str = ""
    confirms: str = ""
    duration_us: int = 0
    salt: bytes = b""  # of the answer's commitment: the caller gets it, so that either side can prove the answer later
    token: Token | None = None
    taken: Taken | None = None  # what it takes of the quotas of the day, once it can be answered
    notices: list[Header] = []  # headers that every answer about this service bears


class Answered(NamedTuple):
    """An answer, the policy by which it was looked up, and the persons that were asked for by it."""

    answer: Answer
    view: PolicyView
    asked: frozenset[str]


class CallDesk:
    """Handles calls under the policy in force. Belongs to the event loop."""

    def __init__(self, home: GatewayHome, log: EvidenceLog, gate: Gate) -> None:
        self.gate = gate
        self._home = home
        self._log = log
        self._keyed = KeyedDigest(home.suite, home.evidence_secret)
        self._suite_name = home.suite
        self.peers = Peers(home.proxies)
        self._clock = moments.Clock()
        self._call_ids: list[str] = []  # drawn for many calls at once
        self.nonces = NonceStore()
        self.meter = RateMeter()
        self.receipt_meter = RateMeter()  # by application
        self.quota = DayQuota()
        self.readers = Readers()
        self.sandbox = Sandbox()
        self.documents = Documents()
        self.view: PolicyView | None = None
        self.others: tuple[Siblings | SharedUse, ...] = ()  # so other processes of this gateway hear what is counted

    def begin(self) -> Call:
        if not self._call_ids:
            chance = os.urandom(256 * CALL_ID_BYTES).hex()
            self._call_ids = [chance[at : at + 2 * CALL_ID_BYTES] for at in range(0, len(chance), 2 * CALL_ID_BYTES)]
        began = time.perf_counter()
        return Call(self._call_ids.pop(), self._clock.now(began), began, self._home.gateway_id)

    async def work(self, call: Call, scope: Scope, receive: Receive) -> Answer:
        """The answer. Raises JinqiaoError: the refusal. Fills `call` as far as it gets."""
        path, _, query = path_with_query(scope).partition("?")
        route = self._route(call, path)
        is_file = (
            route.operation is _BATCH
            and not route.is_national
            and is_type(headers_of(scope).get("content-type", ""), "text/csv")
        )
        request = await self.take(call, scope, receive, route.method, is_file=is_file)
        headers, body = request.headers, request.body
        view = self.policy(call.at)
        name = self.admit(call, request, view, is_national=route.is_national) or route.service
        service = callable_service(view.services, name, call.application)
        call.grant_id, call.provider, call.consumer = (
            service.grant.grant_id,
            service.grant.provider,
            service.grant.consumer,
        )
        call.notices = deprecation(service, call.operation)
        if route.operation is None:
            answer = Answer(orjson.dumps(examples(service)), JSON_TYPE, 0)
        else:
            form = form_of("" if route.is_national else headers.get("accept", ""), route.operation)
            question = read_file_question(body, query) if is_file else read_question(body, route.operation)
            answer = await self._answer(call, route.operation, question, service, view, form)
        if route.is_national:
            answer = replace(answer, body=national.answer_body(answer.body))
        return self._given(call, answer)

    async def document(self, call: Call, scope: Scope, receive: Receive) -> Answer:
        """What the application that asks may ask, as OpenAPI. Raises JinqiaoError; recorded like any call."""
        call.operation = DOCUMENT
        request = await self.take(call, scope, receive, "GET")
        view = self.policy(call.at)
        self.admit(call, request, view)
        language = language_of(request.headers.get("accept-language", ""))
        made = self.documents.body(view, view.keys[call.key_id].application, language)
        return self._given(call, Answer(made, b"application/json; charset=utf-8", 0))

    def _given(self, call: Call, answer: Answer) -> Answer:
        """Commit to an answer that leaves now."""
        call.rows = answer.rows
        call.salt = answer_salt(self._keyed, call.call_id)
        call.answer_commitment = salted_digest(self._suite_name, call.salt, answer.body).hex()
        call.outcome = "ok"
        return answer

    async def _answer(
        self, call: Call, operation: Operation, question: Question, service: ServicePolicy, view: PolicyView, form: Form
    ) -> Answer:
        """Permit a question and answer it; what was used of quotas and who was asked for is counted and noted."""
        self._note(call, question, service)
        at, moment, keys = call.at.astimezone(CHINA), time.monotonic(), call.keys
        metered = f"{SANDBOX_METER}{service.service}" if call.environment == _SANDBOX else service.service
        wait_s = self.meter.wait_s(metered, service.calls_per_minute, moment, keys)
        used = self.quota.used(call.environment, service.service, call.application, at)
        permission = permit(service, operation, question, at=at, use=Use(wait_s, used.calls, used.rows))
        self.meter.count(metered, moment, keys)
        for others in self.others:
            others.counted(metered, keys)
        asked = asked_persons(permission)
        self._mark(call, view, asked)
        reader = self._reader(call, service, view)
        telling = Telling(call.call_id, form, partial(self._cursors, view), call.environment, call.application)
        with Taken(used, service, keys, at) as taken:
            with self.gate.place(metered, reader.source, call.began) as place:
                if place.has_to_wait:
                    await place.turn()
                answer = await answer_call(permission, reader, telling)
                if self.view is not view:
                    answer, view, asked = await self._under_newer_policy(
                        call, operation, question, service, telling, Answered(answer, view, asked)
                    )
            taken.rows(answer.rows)
        call.taken = taken
        if not answer.persons <= asked:
            self._mark(call, view, asked | answer.persons)
        return answer

    async def _under_newer_policy(
        self,
        call: Call,
        operation: Operation,
        question: Question,
        service: ServicePolicy,
        telling: Telling,
        answered: Answered,
    ) -> Answered:
        """The answer to a call during which a policy came: what that took away is not answered any more, and what it changed of the
        service is looked up by the new rules. Raises KeyUnknown and what `check_peer`, `policy`, `callable_service`, `permit` and the
        source raise.
        """
        view = None
        while view is not self.view:
            now = moments.now()
            view = self.policy(now)
            key = view.keys.get(call.key_id)
            is_known = key is not None and key.application.application_id == call.application
            if key is None or not is_known or not key.is_in_use(key.verifier.algorithm, now):
                raise KeyUnknown(key_id=call.key_id)
            if not key.sandbox_only:
                check_peer(call.peer or Peer(""), key)
            newer = callable_service(view.services, service.service, call.application)
            if newer != service:
                service = newer
                call.grant_id, call.provider = service.grant.grant_id, service.grant.provider
                # the call was counted when it was let in: quotas are not asked again
                permission = permit(service, operation, question, at=now.astimezone(CHINA), use=Use())
                asked = asked_persons(permission)
                self._mark(call, view, asked)
                reader = self._reader(call, service, view)
                answer = await answer_call(permission, reader, replace(telling, cursors=partial(self._cursors, view)))
                answered = Answered(answer, view, asked)
        return answered

    def _reader(self, call: Call, service: ServicePolicy, view: PolicyView) -> Reader:
        if call.environment == _SANDBOX:
            return self.sandbox.reader(service)
        return self.readers.reader(service, view.passwords)

    def _mark(self, call: Call, view: PolicyView, persons: frozenset[str]) -> None:
        """Commit to the persons of a call; those of the sandbox are nobody."""
        if persons and view.subjects is not None and call.environment == _PRODUCTION:
            call.subjects = tuple(sorted({view.subjects.of(number) for number in persons}))

    def _cursors(self, view: PolicyView) -> Cursors:
        """Cursors are readable at every gateway of the city, where it has a key of persons."""
        return Cursors(self._suite_name, view.subjects.secret if view.subjects else self._home.evidence_secret)

    def _route(self, call: Call, path: str) -> Route:
        """Raises PathUnknown."""
        route = route_of(path)
        if route is None:
            raise PathUnknown
        call.environment, call.operation = route.recorded_environment, route.recorded_operation
        call.service = route.recorded_service
        return route

    async def take(self, call: Call, scope: Scope, receive: Receive, method: str, *, is_file: bool = False) -> Request:
        """The whole request, of this method and within bounds: JSON, or a file of CSV with its question in the query string.

        Raises MethodNotOffered, HeaderRepeated, QueryStringNotTaken, ContentTypeNotTaken and what `read_body` raises.
        """
        if scope["method"] != method:
            raise MethodNotOffered(allowed=method)
        headers, target = headers_of(scope), path_with_query(scope)
        peer = self.peers.of(scope, headers)
        call.address, call.peer = peer.address, peer
        length, limit = headers.get("content-length", ""), FILE_BYTES if is_file else BODY_BYTES
        body = body_at_hand(scope, length, limit)
        if body is None:
            with self.gate.reading():
                body = await read_body(receive, length, limit)
        call.request_digest = self._commit(b"request", body)
        if "?" in target and not is_file:
            raise QueryStringNotTaken
        if method == "POST":
            _check_body_type(headers, is_file=is_file)
        return Request(method, target, headers, body, peer)

    def admit(self, call: Call, request: Request, view: PolicyView, *, is_national: bool = False) -> str:
        """Who calls goes into `call`. Of a call of the national convention the name of the service that it means, else empty.

        Raises what `admission.admit` raises.
        """
        name = ""
        try:
            if is_national:
                caller, name = national.admit_national(request, view, self.nonces, now=time.time(), on=call.at)
                call.service = name
            else:
                caller = admit(request, view, self.nonces, now=time.time(), on=call.at)
        except JinqiaoError as refusal:
            claimed = refusal.details.get("key_id", "")
            call.key_id = claimed if SPEAKING_NAME.fullmatch(claimed) else ""
            raise
        call.key_id, call.token = caller.key_id, caller.token
        call.application, call.consumer = caller.application.application_id, caller.application.organisation
        return name

    def renew(self, home: GatewayHome) -> Readers:
        """Go on with a home that was read anew, and with connections to be made anew; the readers so far, to be closed later."""
        before, self.readers = self.readers, Readers()
        self._home, self.peers = home, Peers(home.proxies)
        return before

    def hear_rate(self, metered: str, keys: int) -> None:
        """Another process of this gateway has admitted a call."""
        if metered.startswith(RECEIPT_METER):
            self.receipt_meter.hear(metered, time.monotonic(), keys)
        else:
            self.meter.hear(metered, time.monotonic(), keys)

    def hear_use(self, environment: str, service: str, application: str, keys: int, rows: int) -> None:
        """Another process of this gateway has used something of a quota of the day."""
        self.quota.add(environment, service, application, keys, rows, moments.now().astimezone(CHINA))

    async def record(self, call: Call) -> None:
        """Make the record durable. Raises EvidenceUnavailable: then nothing may be answered; NonceReplayed where another process
        of this gateway has recorded this nonce before, ClaimsUnavailable where that cannot be told: that is what the record says."""
        call.duration_us = int((time.perf_counter() - call.began) * 1e6)
        try:
            await self._log.append(call, call.token)
        except JinqiaoError as problem:
            if call.taken is not None:
                call.taken.give_back()
            if not isinstance(problem, TokenTaken | ClaimsUnavailable):
                raise
            is_replay = isinstance(problem, TokenTaken)
            refusal = NonceReplayed(key_id=call.key_id) if is_replay else ClaimsUnavailable()
            call.outcome, call.rows, call.answer_commitment, call.token = refusal.code, 0, "", None
            await self._log.append(call, None)
            raise refusal from problem
        if call.taken is not None:
            self._settle(call, call.taken)

    def _settle(self, call: Call, taken: Taken) -> None:
        """Tell the others what an answer uses of the quotas of the day, now that the evidence says so; or take it back."""
        if call.outcome != "ok":
            taken.give_back()
        elif self.others and has_day_quota(taken.service):
            for others in self.others:
                others.used(call.environment, taken.service.service, call.application, call.keys, call.rows)

    def policy(self, now: datetime) -> PolicyView:
        view = self.view
        if view is None:
            raise PolicyMissing
        if view.expires_at <= now:
            raise PolicyExpired
        return view

    def _note(self, call: Call, question: Question, service: ServicePolicy) -> None:
        """Take into the record what may stand there: no purpose that was made up, no item name that could be a value."""
        granted = items_for(service, question.role)
        codes = question.items or tuple(dict.fromkeys(condition.item for condition in question.filter))
        if codes not in granted.looked_up:
            codes = tuple(code for code in codes if code in granted or _ITEM_CODE.fullmatch(code))
        call.items = codes
        call.purpose = question.purpose if question.purpose in service.grant.purposes else ""
        call.case_number, call.end_user, call.role = question.case_number, question.end_user, question.role
        call.keys = question.keys
        call.key_commitment = self._commit(b"key", _encoded(question.wanted()))

    def _commit(self, kind: bytes, data: bytes) -> str:
        """A digest that only the gateway can compute: an identity number cannot be found by trying all of them."""
        return self._keyed.digest(kind + b"\x00" + data).hex()


def _encoded(text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError:  # half of a pair: it will be refused, and is committed to all the same
        return text.encode("utf-8", "surrogatepass")


@lru_cache(256)
def is_type(content_type: str, wanted: str) -> bool:
    """Whether a Content-Type says this type, in UTF-8."""
    kind, _, parameters = content_type.partition(";")
    charset = parameters.strip().lower().replace(" ", "").replace('"', "")
    return kind.strip().lower() == wanted and charset in ("", "charset=utf-8")


def _check_body_type(headers: Mapping[str, str], *, is_file: bool) -> None:
    is_known = is_file or is_type(headers.get("content-type", ""), "application/json")
    if not is_known or headers.get("content-encoding", "identity") != "identity":
        raise ContentTypeNotTaken
