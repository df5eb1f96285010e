"""What an operator may set for a gateway: `settings.toml` in its home, read at start and again at SIGHUP.

    [limits]    how much may be under way at once, and how long it may take
    [serving]   how the gateway ends, and when it says that its policy is old
    [metrics]   who may read the metrics
    [platform]  how the platform is reached
    [replicas]  what this gateway's replicas on other machines share

Everything has a default; a name that is not known is refused, so that a slip of the pen is not taken for a setting.
"""

import ipaddress
import ssl
import stat
import tomllib
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, get_type_hints

from jinqiao.dataplane.evidence.shared_tables import has_password
from jinqiao.dataplane.gateway.errors import SettingsNotValid
from jinqiao.dataplane.gateway.home import GatewayHome
from jinqiao.kernel.crypto.errors import KeyFileExposed

SETTINGS = "settings.toml"


MEANING = (
    "meaning"  # in the metadata of a field: one line for the table of settings, which tools/reference.py writes from it
)


def _setting(default: Any, meaning: str, *, is_secret: bool = False) -> Any:
    return field(default=default, repr=not is_secret, metadata={MEANING: meaning})


@dataclass(frozen=True, slots=True)
class Limits:
    """Calls at once, and seconds. `at_door` bounds everything that is under way, `in_flight` the calls whose caller is known,
    `per_service` and `per_source` those of one service and one data source; more than `per_source` wait, up to
    `source_queue`, and no longer than `source_wait_s`. `receipts_per_minute`: of each application."""

    at_door: int = _setting(4096, "calls under way at all; further ones are refused unread")
    reading: int = _setting(2048, "bodies on their way in; then the oldest is refused")
    in_flight: int = _setting(1024, "calls between permission and answer")
    per_service: int = _setting(512, "of one service")
    per_source: int = _setting(32, "at one data source at once")
    source_queue: int = _setting(224, "that wait for it")
    source_wait_s: float = _setting(2.0, "for so long")
    call_within_s: float = _setting(15.0, "from the beginning of a call to the end of its look-up")
    receipts_per_minute: int = _setting(60_000, "receipts of answers that are taken of each application; beyond: 429")


@dataclass(frozen=True, slots=True)
class Serving:
    """`drain_s`: for how long a gateway that was told to end still answers, while its readiness is false already.
    `end_within_s`: for how long it waits for calls under way after that."""

    drain_s: float = _setting(1.0, 'seconds between "not ready" and the end of listening')
    end_within_s: float = _setting(10.0, "seconds that calls under way get after that")
    policy_old_s: float = _setting(300.0, "without a word of the platform for longer, answers say the policy's age")


@dataclass(frozen=True, slots=True)
class MetricsAccess:
    """`networks` may read without a token, unless a proxy says that it speaks for somebody else. `token_sha256`: of the
    bearer token, in hex; empty: there is none."""

    networks: tuple[str, ...] = _setting(
        ("127.0.0.0/8", "::1/128"), "networks (CIDR) that may read the metrics without a token"
    )
    token_sha256: str = _setting("", "SHA-256 (hex) of the bearer token that may read them")


@dataclass(frozen=True, slots=True)
class Platform:
    """`ca_file`: certificates of who may vouch for the platform's host, instead of the machine's, or of those that the
    registration named (`gateway.toml`)."""

    ca_file: str = _setting(
        "",
        "certificates of who may vouch for the platform's host, instead of the machine's or those of `ca_file` in `gateway.toml`",
    )


@dataclass(frozen=True, slots=True)
class Replicas:
    """`claims`: a PostgreSQL database in libpq's form (postgresql://…), where replicas claim the nonces of calls; read at start only.
    Empty: this home is the whole gateway. It may hold a password; `passfile` in the address names a file that does instead."""

    claims: str = _setting(
        "",
        "`postgresql://…`: database in which replicas claim nonces and tell each other their counts; read at start only; "
        "empty: this home is the whole gateway",
        is_secret=True,
    )


@dataclass(frozen=True, slots=True)
class GatewaySettings:
    limits: Limits = Limits()
    serving: Serving = Serving()
    metrics: MetricsAccess = MetricsAccess()
    platform: Platform = Platform()
    replicas: Replicas = Replicas()


TABLES: dict[str, type[Any]] = get_type_hints(GatewaySettings)
"""The tables of `settings.toml` by name."""


def read_settings(home: Path) -> GatewaySettings:
    """The settings of a home; defaults where there is no file.

    Raises SettingsNotValid, which names what is wrong; KeyFileExposed where others may read a password in it.
    """
    file = home / SETTINGS
    try:
        tables = tomllib.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return GatewaySettings()
    except (OSError, ValueError) as problem:
        raise SettingsNotValid(name=SETTINGS) from problem
    made: dict[str, Any] = {}
    for name, table in tables.items():
        if name not in TABLES or not isinstance(table, dict):
            raise SettingsNotValid(name=name)
        made[name] = _table(TABLES[name], name, table)
    for network in made.get("metrics", MetricsAccess()).networks:
        try:
            ipaddress.ip_network(network)
        except ValueError as problem:
            raise SettingsNotValid(name="metrics.networks") from problem
    settings = GatewaySettings(**made)
    if settings.replicas.claims:
        try:
            is_secret = has_password(settings.replicas.claims)
        except ValueError:
            raise SettingsNotValid(name="replicas.claims") from None
        if is_secret and stat.S_IMODE(file.stat().st_mode) & 0o077:
            raise KeyFileExposed(file=SETTINGS)
    return settings


def trusting(home: GatewayHome, settings: GatewaySettings) -> GatewayHome:
    """The home with whom its settings name to vouch for the platform, where they name anybody. Raises SettingsNotValid where
    the file that is named, there or in `gateway.toml`, has no certificates."""
    named = settings.platform.ca_file
    home = replace(home, ca_file=Path(named)) if named else home
    if home.ca_file is not None:
        try:
            ssl.create_default_context(cafile=str(home.ca_file))
        except OSError as problem:
            raise SettingsNotValid(name="platform.ca_file" if named else "gateway.toml: ca_file") from problem
    return home


def _table(kind: type[Any], table: str, given: dict[str, Any]) -> Any:
    types = get_type_hints(kind)
    names = {field.name for field in fields(kind)}
    values: dict[str, Any] = {}
    for name, value in given.items():
        if name not in names:
            raise SettingsNotValid(name=f"{table}.{name}")
        values[name] = _value(f"{table}.{name}", types[name], value)
    return kind(**values)


def _value(name: str, kind: Any, value: Any) -> Any:
    if kind is str and isinstance(value, str):
        return value
    if kind is int and isinstance(value, int) and not isinstance(value, bool) and value > 0:
        return value
    if kind is float and isinstance(value, int | float) and not isinstance(value, bool) and value >= 0:
        return float(value)
    if kind == tuple[str, ...] and isinstance(value, list) and all(isinstance(part, str) for part in value):
        return tuple(value)
    raise SettingsNotValid(name=name)
