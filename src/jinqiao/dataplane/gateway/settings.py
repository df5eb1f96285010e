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


@dataclass(frozen=True, slots=True)
class Limits:
    """Calls at once, and seconds. `at_door` bounds everything that is under way, `in_flight` the calls whose caller is known,
    `per_service` and `per_source` those of one service and one data source; more than `per_source` wait, up to
    `source_queue`, and no longer than `source_wait_s`. `receipts_per_minute`: of each application."""

    at_door: int = 4096
    reading: int = 2048
    in_flight: int = 1024
    per_service: int = 512
    per_source: int = 32
    source_queue: int = 224
    source_wait_s: float = 2.0
    call_within_s: float = 15.0
    receipts_per_minute: int = 60_000


@dataclass(frozen=True, slots=True)
class Serving:
    """`drain_s`: for how long a gateway that was told to end still answers, while its readiness is false already.
    `end_within_s`: for how long it waits for calls under way after that."""

    drain_s: float = 1.0
    end_within_s: float = 10.0
    policy_old_s: float = 300.0


@dataclass(frozen=True, slots=True)
class MetricsAccess:
    """`networks` may read without a token, unless a proxy says that it speaks for somebody else. `token_sha256`: of the
    bearer token, in hex; empty: there is none."""

    networks: tuple[str, ...] = ("127.0.0.0/8", "::1/128")
    token_sha256: str = ""


@dataclass(frozen=True, slots=True)
class Platform:
    """`ca_file`: certificates of who may vouch for the platform's host, instead of the machine's, or of those that the
    registration named (`gateway.toml`)."""

    ca_file: str = ""


@dataclass(frozen=True, slots=True)
class Replicas:
    """`claims`: a PostgreSQL database in libpq's form (postgresql://…), where replicas claim the nonces of calls; read at start only.
    Empty: this home is the whole gateway. It may hold a password; `passfile` in the address names a file that does instead."""

    claims: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class GatewaySettings:
    limits: Limits = Limits()
    serving: Serving = Serving()
    metrics: MetricsAccess = MetricsAccess()
    platform: Platform = Platform()
    replicas: Replicas = Replicas()


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
    known = {
        "limits": Limits,
        "serving": Serving,
        "metrics": MetricsAccess,
        "platform": Platform,
        "replicas": Replicas,
    }
    made: dict[str, Any] = {}
    for name, table in tables.items():
        if name not in known or not isinstance(table, dict):
            raise SettingsNotValid(name=name)
        made[name] = _table(known[name], name, table)
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
