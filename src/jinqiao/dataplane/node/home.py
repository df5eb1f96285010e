"""The home folder of a node: what it is, whom it trusts, its secrets, its spool and its ledger.

node.toml        platform URL, node id, name, suite; optionally
                     ca_file, poll_s, parallel
                     spool_budget_bytes       staged chunks take no more than this (0: as the disk allows)
                     spool_min_free_bytes     and always leave this much of the disk free
                     keep_staged_h            hours that staged chunks stay after the receipt
                     listen = "host:port"     take chunks directly from other nodes; `url` as they reach it,
                     tls_certificate, tls_key   its certificate
                     carried = true           no network to the platform: bundles are carried by hand
platform.json    public identity of the platform: only its signature makes a command
master.key, keystore.json   (kernel.keystore) the node's own identity
ledger.db        commands and their results
merged.db        counts of batches whose target allows no ledger of ours
spool/           staged chunks
states/          digests of what was delivered last, for the modes that compare
rotate.request   asks the running process for a new identity
node.lock        held while a node works here
"""

import fcntl
import json
import os
import secrets
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from jinqiao import __version__
from jinqiao.dataplane.node.errors import HomeInUse, HomeNotPrepared
from jinqiao.dataplane.node.keys import CURRENT, KeyRing
from jinqiao.dataplane.platform import PlatformClient, PlatformTime
from jinqiao.dataplane.staging.spool import Spool
from jinqiao.dataplane.staging.state import StateStore, state_key
from jinqiao.dataplane.transforms.tokens import TokenKeys, token_keys
from jinqiao.kernel.contracts.exchange import NodeAdmission, NodeRegistration
from jinqiao.kernel.contracts.grants import GrantTerms
from jinqiao.kernel.crypto.identity import Identity, PublicIdentity
from jinqiao.kernel.keystore import KeyStore, write_durably

CONFIGURATION = "node.toml"
PLATFORM = "platform.json"
LEDGER = "ledger.db"
MERGED = "merged.db"
SPOOL = "spool"
STATES = "states"
TOKEN_SECRET = "token-secret"  # noqa: S105 -- the name of an entry
LOCK = "node.lock"
ROTATE_REQUEST = "rotate.request"
REGISTRATION = "registration.json"
REGISTER_PATH = "/api/nodes/register"


@dataclass(frozen=True, slots=True)
class NodeHome:
    """A home as read at start. `parallel` moves are worked at the same time."""

    path: Path
    platform_url: str
    node_id: str
    platform: PublicIdentity
    keys: KeyRing
    poll_s: float = 1.0
    parallel: int = 2
    ca_file: Path | None = None
    spool_budget_bytes: int = 0
    spool_min_free_bytes: int | None = None
    keep_staged_h: float = 0.0
    listen: str = ""
    url: str = ""
    tls_certificate: Path | None = None
    tls_key: Path | None = None
    is_carried: bool = False
    time: PlatformTime = field(default_factory=PlatformTime)

    @property
    def identity(self) -> Identity:
        """The one of now; after a rotation another."""
        return self.keys.current

    @property
    def ledger_file(self) -> Path:
        return self.path / LEDGER

    @property
    def merged_file(self) -> Path:
        """Counts of batches whose target allows no ledger of ours."""
        return self.path / MERGED

    @property
    def spool_folder(self) -> Path:
        return self.path / SPOOL

    @property
    def spool(self) -> Spool:
        """To look into; a process that writes there keeps to its budget (`budget.BudgetedSpool`)."""
        return Spool(self.spool_folder)

    @property
    def states(self) -> StateStore:
        """What this node remembers of the batches that it delivered last."""
        suite = self.identity.suite
        return StateStore(self.path / STATES, state_key(self.keys.store, suite), suite)

    def tokens(self, grant: GrantTerms) -> TokenKeys:
        """Keys of the pseudonyms of a grant; the node's secret behind them is drawn at first use and never leaves it."""
        secret = self.keys.store.get(TOKEN_SECRET)
        if secret is None:
            secret = secrets.token_bytes(32)
            self.keys.store.put(TOKEN_SECRET, secret)
        return token_keys(secret, grant, self.identity.suite)

    def client(self, timeout_s: float = 30.0) -> PlatformClient:
        """A connection of its own to the platform, for one thread."""
        return PlatformClient(
            self.platform_url, lambda: self.keys.current, timeout_s=timeout_s, ca_file=self.ca_file, time=self.time
        )

    def lock(self) -> int:
        """Take the home for this process; close the descriptor at the end. Raises HomeInUse."""
        descriptor = os.open(self.path / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as problem:
            os.close(descriptor)
            raise HomeInUse(home=self.path.name) from problem
        return descriptor


def prepare(
    home: Path,
    platform_url: str,
    node_id: str,
    platform_identity: PublicIdentity | dict[str, Any],
    suite: str = "international",
    *,
    name: str = "",
    poll_s: float = 1.0,
    ca_file: Path | None = None,
    carried: bool = False,
) -> PublicIdentity:
    """Make or renew a home; an identity that is there is kept. The public identity goes to the platform."""
    public = _identity_of(home, suite)
    platform = (
        platform_identity
        if isinstance(platform_identity, PublicIdentity)
        else PublicIdentity.from_json(platform_identity)
    )
    write_durably(home / PLATFORM, json.dumps(platform.to_json(), indent=2).encode())
    fields: dict[str, Any] = {
        "platform_url": platform_url.rstrip("/"),
        "node_id": node_id,
        "name": name or node_id,
        "suite": public.suite,
        "poll_s": poll_s,
    }
    if carried:
        fields["carried"] = True
    if ca_file is not None:
        fields["ca_file"] = str(ca_file.resolve())
    lines = [f"{key} = {json.dumps(value, ensure_ascii=False)}" for key, value in fields.items()]
    write_durably(home / CONFIGURATION, ("\n".join(lines) + "\n").encode())
    return public


def register(
    home: Path, platform_url: str, code: str, name: str, suite: str = "international", ca_file: Path | None = None
) -> NodeAdmission:
    """Register by the one-time code that the platform gave, and prepare the home.

    Raises PlatformAway, PlatformRefused, PlatformAnswerBroken, ContractBroken. The identity is made before the code is used:
    a call that breaks off can be repeated.
    """
    public = _identity_of(home, suite)
    word = NodeRegistration(code=code, identity=public.to_json(), name=name, version=__version__)
    with PlatformClient(platform_url, None, ca_file=ca_file) as platform:
        admission = NodeAdmission.from_json(platform.post(REGISTER_PATH, word))
    prepare(
        home,
        platform_url,
        admission.node_id,
        admission.platform_identity,
        suite,
        name=name,
        poll_s=admission.poll_s,
        ca_file=ca_file,
    )
    return admission


def write_registration(home: Path, to: Path, code: str, name: str, suite: str = "international") -> PublicIdentity:
    """The registration of a node without a network, as a file that is carried to the platform; the answer goes to `admit`."""
    public = _identity_of(home, suite)
    word = NodeRegistration(code=code, identity=public.to_json(), name=name, version=__version__)
    write_durably(home / REGISTRATION, json.dumps({"name": name, "suite": suite}).encode())
    write_durably(to, json.dumps(word.to_json(), ensure_ascii=False, indent=1).encode())
    return public


def admit(home: Path, file: Path) -> NodeAdmission:
    """Prepare the home of a node without a network with the platform's answer. Raises HomeNotPrepared, ContractBroken."""
    try:
        kept = json.loads((home / REGISTRATION).read_bytes())
        admission = NodeAdmission.from_json(json.loads(file.read_bytes()))
        platform = PublicIdentity.from_json(admission.platform_identity)
        prepare(home, "", admission.node_id, platform, kept["suite"], name=kept["name"], carried=True)
    except (OSError, ValueError, KeyError, TypeError) as problem:
        raise HomeNotPrepared(home=home.name) from problem
    return admission


def load(home: Path) -> NodeHome:
    """Read a home. Raises HomeNotPrepared, IdentityBroken, KeyStoreBroken, KeyFileExposed."""
    try:
        fields = tomllib.loads((home / CONFIGURATION).read_text(encoding="utf-8"))
        return NodeHome(
            path=home,
            platform_url=str(fields["platform_url"]),
            node_id=str(fields["node_id"]),
            platform=PublicIdentity.from_json(json.loads((home / PLATFORM).read_bytes())),
            keys=KeyRing(home, fields["suite"]),
            poll_s=max(0.05, float(fields.get("poll_s", 1.0))),
            parallel=max(1, int(fields.get("parallel", 2))),
            ca_file=_path(fields.get("ca_file")),
            spool_budget_bytes=max(0, int(fields.get("spool_budget_bytes", 0))),
            spool_min_free_bytes=(
                max(0, int(fields["spool_min_free_bytes"])) if "spool_min_free_bytes" in fields else None
            ),
            keep_staged_h=max(0.0, float(fields.get("keep_staged_h", 0.0))),
            listen=str(fields.get("listen", "")),
            url=str(fields.get("url", "")),
            tls_certificate=_path(fields.get("tls_certificate")),
            tls_key=_path(fields.get("tls_key")),
            is_carried=bool(fields.get("carried", False)),
        )
    except (OSError, KeyError, TypeError, ValueError) as problem:
        raise HomeNotPrepared(home=home.name) from problem


def _path(text: Any) -> Path | None:
    return Path(str(text)) if text else None


def _identity_of(home: Path, suite: str) -> PublicIdentity:
    home.mkdir(parents=True, exist_ok=True)
    home.chmod(0o700)
    return KeyStore(home, suite).identity(CURRENT, suite).public
