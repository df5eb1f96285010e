"""The home folder of a gateway: what it is, whom it trusts, its secrets, its last policy and its evidence.

gateway.toml     platform URL, gateway id, suite, and what the operator names there (CONFIGURED)
platform.json    public identity of the platform: only its signature makes a policy
master.key, keystore.json   (kernel.keystore) own identity, secret of the commitments
policy.json      the last signed snapshot
evidence.db      records of calls, with the nonces of the last minutes
policy.confirmed its time is when the platform said last that the policy is the newest
anchors.db       signed heads of its lanes, and who countersigned them
archive/         packs of records whose time was over, written before they were deleted
rotate.request   asks the running process for a new identity
shipped.json     how far the evidence has been shipped
gateway.lock     held while a gateway works here; by several of its processes together where it has workers
lane-<n>.lock    held by the worker that writes this lane of the evidence
link.lock        held by the worker that speaks with the platform
evidence.turn    held by the worker that writes evidence just now
lane-<n>.figures what a worker counted, for the metrics
lane-<n>.sock    where a worker hears of the others' calls
settings.toml    what the operator set (gateway.settings)
"""

import fcntl
import json
import os
import re
import secrets
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from jinqiao import __version__
from jinqiao.dataplane.gateway.errors import HomeInUse, HomeNotPrepared
from jinqiao.dataplane.gateway.peers import Network, is_within, networks_of
from jinqiao.dataplane.node.keys import KeyRing
from jinqiao.dataplane.platform import PlatformClient, PlatformTime
from jinqiao.kernel.contracts.exchange import NodeAdmission, NodeRegistration
from jinqiao.kernel.crypto.identity import Identity, PublicIdentity
from jinqiao.kernel.keystore import KeyStore, write_durably

CONFIGURATION = "gateway.toml"
PLATFORM = "platform.json"
# what CONFIGURATION may say: nothing else of it is read, and tools/reference.py writes the table of it from here
CONFIGURED = {
    "platform_url": "address of the platform; by registration",
    "gateway_id": "what the platform calls the gateway; by registration",
    "suite": "`international` or `guomi`; by registration",
    "ca_file": "certificates of who may vouch for the platform's host, instead of the machine's; as `register --ca-file` named them",
    "proxies": (
        "networks (CIDR) of reverse proxies whose word on the caller's address and client certificate is believed; "
        "those of the environment (`JINQIAO_GATEWAY_PROXIES`) come beside them"
    ),
    "replica": "name of this home among those of one gateway, with which its lanes begin; written by `jinqiao gateway replica`",
}
SETTINGS = ("proxies", "replica", "ca_file")  # of them, what stays when a home is renewed
POLICY = "policy.json"
EVIDENCE = "evidence.db"
SHIPPED = "shipped.json"
ANCHORS = "anchors.db"
ARCHIVE = "archive"
ROTATE_REQUEST = "rotate.request"
LOCK = "gateway.lock"
LINK_LOCK = "link.lock"
TURN = "evidence.turn"
PROXIES = "JINQIAO_GATEWAY_PROXIES"
MOST_LANES = 64
REPLICA_NAME = re.compile(r"[a-z][a-z0-9]{0,15}", re.ASCII)
IDENTITY = "identity"
EVIDENCE_SECRET = "evidence-secret"  # noqa: S105 -- the name of a secret, not one


@dataclass(frozen=True, slots=True)
class GatewayHome:
    """A home as read at start. `evidence_secret` keys the commitments in the records."""

    path: Path
    platform_url: str
    gateway_id: str
    suite: str
    platform: PublicIdentity
    keys: KeyRing
    evidence_secret: bytes
    proxies: tuple[str, ...] = ()
    replica: str = ""
    time: PlatformTime = field(default_factory=PlatformTime)
    ca_file: Path | None = None

    @property
    def identity(self) -> Identity:
        """The one of now; after a rotation another."""
        return self.keys.current

    @property
    def node_id(self) -> str:
        """What the platform calls it: a gateway is a node to it."""
        return self.gateway_id

    def client(self, timeout_s: float = 30.0) -> PlatformClient:
        """A connection of its own to the platform, for one thread; signed by the identity of the moment."""
        return PlatformClient(
            self.platform_url, lambda: self.keys.current, timeout_s=timeout_s, ca_file=self.ca_file, time=self.time
        )

    @property
    def policy_file(self) -> Path:
        return self.path / POLICY

    @property
    def evidence_file(self) -> Path:
        return self.path / EVIDENCE

    @property
    def shipped_file(self) -> Path:
        return self.path / SHIPPED

    @property
    def anchors_file(self) -> Path:
        return self.path / ANCHORS

    @property
    def archive_folder(self) -> Path:
        return self.path / ARCHIVE

    def lock(self, *, shared: bool = False) -> int:
        """Take the home for this process; give the descriptor back to `os.close` at the end. Raises HomeInUse.

        One process has it for itself, or several that share nonces and quotas (`shared`); never both kinds at once.
        """
        descriptor = self.try_lock(LOCK, shared=shared)
        if descriptor is None:
            raise HomeInUse(home=self.path.name)
        return descriptor

    def lane(self, number: int) -> str:
        """The name of a lane: no replica has one of another's, for to the platform they are one gateway."""
        return f"{self.replica}-{number}" if self.replica else str(number)

    def take_lane(self) -> tuple[str, int]:
        """A lane of the evidence that nobody writes now, and its lock. Raises HomeInUse where all are taken."""
        for number in range(1, MOST_LANES + 1):
            descriptor = self.try_lock(f"lane-{number}.lock")
            if descriptor is not None:
                return self.lane(number), descriptor
        raise HomeInUse(home=self.path.name)

    def try_lock(self, name: str, *, shared: bool = False) -> int | None:
        """A lock of the home by the name of its file; None where somebody else has it. It ends with the process."""
        descriptor = os.open(self.path / name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
        except OSError:
            os.close(descriptor)
            return None
        return descriptor


def identity_of(home: Path, suite: str = "international") -> PublicIdentity:
    """The public identity of a home, made when there is none yet."""
    _make(home)
    return KeyStore(home, suite).identity(IDENTITY, suite).public


def prepare(
    home: Path,
    platform_url: str,
    gateway_id: str,
    platform_identity: PublicIdentity | dict[str, Any],
    suite: str = "international",
    *,
    ca_file: Path | None = None,
) -> PublicIdentity:
    """Make or renew a home; an identity that is there is kept. The public identity goes to the platform."""
    public = identity_of(home, suite)
    store = KeyStore(home, suite)
    if store.get(EVIDENCE_SECRET) is None:
        store.put(EVIDENCE_SECRET, secrets.token_bytes(32))
    platform = (
        platform_identity
        if isinstance(platform_identity, PublicIdentity)
        else PublicIdentity.from_json(platform_identity)
    )
    write_durably(home / PLATFORM, json.dumps(platform.to_json(), indent=2).encode())
    fields: dict[str, Any] = {
        **_kept_settings(home),
        "platform_url": platform_url.rstrip("/"),
        "gateway_id": gateway_id,
        "suite": public.suite,
    }
    if ca_file is not None:
        fields["ca_file"] = str(ca_file.resolve())
    lines = [f"{name} = {json.dumps(value, ensure_ascii=False)}" for name, value in fields.items()]
    write_durably(home / CONFIGURATION, ("\n".join(lines) + "\n").encode())
    return public


def _kept_settings(home: Path) -> dict[str, Any]:
    """What an operator has set in a home that is renewed."""
    try:
        fields = _configured(home / CONFIGURATION)
    except (OSError, ValueError):
        return {}
    return {name: fields[name] for name in SETTINGS if name in fields}


def register(
    home: Path, platform_url: str, code: str, name: str, suite: str = "international", ca_file: Path | None = None
) -> NodeAdmission:
    """Register a gateway by the one-time code that the platform gave, and prepare its home. It waits for its approval then.

    Raises PlatformAway, PlatformRefused, PlatformAnswerBroken, ContractBroken. The identity is made before the code is used:
    a call that breaks off can be repeated.
    """
    public = identity_of(home, suite)
    word = NodeRegistration(code=code, identity=public.to_json(), name=name, version=__version__)
    with PlatformClient(platform_url, None, ca_file=ca_file) as platform:
        admission = NodeAdmission.from_json(platform.post("/api/nodes/register", word))
    prepare(home, platform_url, admission.node_id, admission.platform_identity, suite, ca_file=ca_file)
    return admission


def load(home: Path) -> GatewayHome:
    """Read a home. Raises HomeNotPrepared, IdentityBroken, KeyStoreBroken, KeyFileExposed."""
    try:
        fields = _configured(home / CONFIGURATION)
        platform = PublicIdentity.from_json(json.loads((home / PLATFORM).read_bytes()))
        store = KeyStore(home, fields["suite"])
        secret, replica = store.get(EVIDENCE_SECRET), fields.get("replica", "")
        if secret is None or (replica and not REPLICA_NAME.fullmatch(replica)):
            raise HomeNotPrepared(home=home.name)
        return GatewayHome(
            home,
            fields["platform_url"],
            fields["gateway_id"],
            fields["suite"],
            platform,
            KeyRing(home, fields["suite"]),
            secret,
            proxies=tuple(str(network) for network in networks_of([*fields.get("proxies", ()), *_proxies_beside()])),
            replica=replica,
            ca_file=Path(fields["ca_file"]) if fields.get("ca_file") else None,
        )
    except (OSError, KeyError, ValueError) as problem:
        raise HomeNotPrepared(home=home.name) from problem


def _configured(file: Path) -> dict[str, Any]:
    """What the configuration says of what it may say. Raises OSError, ValueError."""
    said = tomllib.loads(file.read_text(encoding="utf-8"))
    return {name: said[name] for name in CONFIGURED if name in said}


class NamedProxies:
    """Who is a proxy that is believed, as the configuration of a home says at the moment: for the front, which stands before its gateway."""

    def __init__(self, home: Path) -> None:
        self._file = home / CONFIGURATION
        self._read_at: tuple[int, int] | None = None
        self._networks: tuple[Network, ...] = ()

    def __call__(self, address: str) -> bool:
        """Nobody is one while the file cannot be read."""
        try:
            about = self._file.stat()
            if (about.st_ino, about.st_mtime_ns) != self._read_at:
                named = _configured(self._file).get("proxies", ())
                self._networks = networks_of([*named, *_proxies_beside()])
                self._read_at = (about.st_ino, about.st_mtime_ns)
        except (OSError, ValueError, TypeError):
            return False
        return is_within(address, self._networks)


def _proxies_beside() -> list[str]:
    """Proxies that the environment names: the front of this machine, where it stands before the workers."""
    return [text.strip() for text in os.environ.get(PROXIES, "").split(",") if text.strip()]


def _make(home: Path) -> None:
    home.mkdir(parents=True, exist_ok=True)
    home.chmod(0o700)
