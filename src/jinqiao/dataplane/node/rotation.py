"""A new identity for a node or a gateway, without a person entering anything again.

1. A new identity is made and kept beside the old one.
2. The platform is told, signed with the old key, with a proof by the new one. From its answer on only the new key signs calls.
3. The passwords that lie at the platform sealed to the old key are opened here and sealed to the new one.

Cut off anywhere, the same steps are taken again: the platform accepts what it knows already.

Where no network joins them, bundles carry the same words: the node signs with the old key until the platform's answer has come
back, and with the new one from then on; the trip after that brings what was sealed anew.
"""

import base64
import json
import logging
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

from jinqiao.dataplane.node.keys import KeyRing
from jinqiao.dataplane.platform import PlatformClient, PlatformRefused, PlatformTime
from jinqiao.kernel.contracts.base import ContractBroken, canonical_json
from jinqiao.kernel.contracts.exchange import NodeRotated, NodeRotation
from jinqiao.kernel.crypto.errors import SealBroken
from jinqiao.kernel.crypto.identity import Identity
from jinqiao.kernel.keystore import write_durably

logger = logging.getLogger(__name__)

ROTATE_PATH = "/api/nodes/rotate"
ANSWER = "rotated.json"  # the platform's last answer, where it is carried
MOST_ROUNDS = 5  # passwords may be entered anew while others are sealed again


@dataclass(frozen=True, slots=True)
class Rotation:
    """What a rotation came to. `lost` secrets could not be opened by any key of this node: they are to be entered anew."""

    old_key_id: str
    new_key_id: str
    resealed: int
    lost: int


class CarriedHome(Protocol):
    """The home of a node, as far as a rotation by bundles goes."""

    @property
    def path(self) -> Path: ...
    @property
    def node_id(self) -> str: ...
    @property
    def keys(self) -> KeyRing: ...


class RotatingHome(Protocol):
    """The home of a node or a gateway, as far as a rotation goes."""

    @property
    def node_id(self) -> str: ...
    @property
    def platform_url(self) -> str: ...
    @property
    def keys(self) -> KeyRing: ...
    @property
    def ca_file(self) -> Path | None: ...
    @property
    def time(self) -> PlatformTime: ...
    def client(self, timeout_s: float = 30.0) -> PlatformClient: ...


def rotate(home: RotatingHome) -> Rotation:
    """Raises PlatformAway (the next call goes on), PlatformRefused, PlatformAnswerBroken."""
    old, new = home.keys.current, home.keys.following()
    if old.key_id != new.key_id:
        _tell(home, new)
        home.keys.promote()
    resealed, lost, secrets = 0, 0, dict[str, str]()
    with home.client() as platform:
        for _ in range(MOST_ROUNDS):
            answer = _sent(platform, _word(home, new, secrets))
            secrets, lost = _sealed_anew(home, new, answer)
            resealed += len(secrets)
            if not secrets:
                break
    home.keys.finish()
    logger.info("node %s works with key %s; %d secrets were sealed anew", home.node_id, new.key_id, resealed)
    if lost:
        logger.error("%d secrets are sealed to a key that this node does not have", lost)
    return Rotation(old.key_id, new.key_id, resealed, lost)


def _tell(home: RotatingHome, new: Identity) -> None:
    """Signed with the old key; where the platform does not know that any more, an earlier answer was lost: then with the new."""
    try:
        with home.client() as platform:
            _sent(platform, _word(home, new, {}))
    except PlatformRefused as refusal:
        if refusal.problem.code != "signature.unknown_key":
            raise
        with PlatformClient(home.platform_url, new, ca_file=home.ca_file, time=home.time) as platform:
            _sent(platform, _word(home, new, {}))


def _word(home: CarriedHome | RotatingHome, new: Identity, resealed: dict[str, str]) -> NodeRotation:
    word = NodeRotation(node_id=home.node_id, identity=new.public.to_json(), resealed=resealed)
    return replace(word, proof=base64.b64encode(new.sign(word.canonical())).decode("ascii"))


def _sent(platform: PlatformClient, word: NodeRotation) -> NodeRotated:
    answer: Any = platform.post(ROTATE_PATH, word)
    return NodeRotated.from_json(answer)


def _sealed_anew(home: CarriedHome | RotatingHome, new: Identity, answer: NodeRotated) -> tuple[dict[str, str], int]:
    secrets, lost = {}, 0
    for text in answer.sealed:
        try:
            secrets[text] = new.public.seal(home.keys.unseal(text))
        except SealBroken:
            lost += 1
    return secrets, lost


# -- by bundles


def begin_carried(home: CarriedHome) -> str:
    """The next bundles carry a new key; its key id. Said again before that has come about, it is the same key."""
    return home.keys.following().key_id


def word_to_carry(home: CarriedHome) -> NodeRotation | None:
    """What the next bundle is to say of the new key, with the secrets that the platform's last answer named, sealed anew."""
    if not home.keys.is_rotating:
        return None
    new, answer = home.keys.following(), _answer(home)
    is_known = answer is not None and answer.key_id == new.key_id
    return _word(home, new, _sealed_anew(home, new, answer)[0] if answer is not None and is_known else {})


def take_carried(home: CarriedHome, answer: NodeRotated) -> None:
    """The platform's word on the key of this node: from here on the new key signs, and it is done when nothing is left that
    could be sealed anew. Words on a key that is not to come change nothing."""
    if not home.keys.is_rotating or answer.key_id != (new := home.keys.following()).key_id:
        return
    home.keys.promote()
    secrets, lost = _sealed_anew(home, new, answer)
    if secrets:
        write_durably(home.path / ANSWER, canonical_json(answer.to_json()))
        return
    home.keys.finish()
    (home.path / ANSWER).unlink(missing_ok=True)
    logger.info("node %s works with key %s", home.node_id, new.key_id)
    if lost:
        logger.error("%d secrets are sealed to a key that this node does not have", lost)


def _answer(home: CarriedHome) -> NodeRotated | None:
    """None also where the file is damaged: the platform's next bundle says it again."""
    try:
        return NodeRotated.from_json(json.loads((home.path / ANSWER).read_bytes()))
    except (OSError, ValueError, RecursionError, ContractBroken):
        return None
