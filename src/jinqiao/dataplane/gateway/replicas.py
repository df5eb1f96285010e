"""One gateway on several machines: each replica has a home with lanes of its own, and they share where nonces are claimed
and what was counted.

To the platform they are one gateway: one identity, one policy, one ledger with the lanes of all.
"""

import shutil
from pathlib import Path

from jinqiao.dataplane.evidence.claims import Claims, FileClaims
from jinqiao.dataplane.evidence.shared_claims import SharedClaims
from jinqiao.dataplane.gateway import home as homes
from jinqiao.dataplane.gateway.errors import HomeInUse, SettingsNotValid
from jinqiao.dataplane.gateway.home import GatewayHome
from jinqiao.dataplane.gateway.settings import SETTINGS, GatewaySettings, read_settings
from jinqiao.dataplane.gateway.shared_use import SharedUse
from jinqiao.dataplane.gateway.siblings import Rate, Use
from jinqiao.dataplane.node.errors import RotationPending
from jinqiao.kernel import keystore

COPIED = (homes.CONFIGURATION, homes.PLATFORM, keystore.MASTER, keystore.STORE, SETTINGS)


def claims_of(home: GatewayHome, settings: GatewaySettings, *, shared: bool) -> Claims | None:
    """Where the processes of a gateway claim nonces; None: one process is the whole gateway. `shared`: it has others in this home.

    Raises SettingsNotValid for a replica that shares nothing: what another answered could be played to it again.
    """
    turn_file = home.path / homes.TURN if shared else None
    if settings.replicas.claims:
        return SharedClaims(settings.replicas.claims, turn_file)
    if home.replica:
        raise SettingsNotValid(name="replicas.claims")
    return FileClaims(turn_file) if turn_file is not None else None


def shared_use_of(
    home: GatewayHome, settings: GatewaySettings, lane: str, rate: Rate, use: Use, *, is_alone: bool
) -> SharedUse:
    """By what a process that writes `lane` hears of calls at other homes; where claims are shared."""
    url = settings.replicas.claims
    return SharedUse(url, home.gateway_id, home.replica, lane, is_alone=is_alone, rate=rate, use=use)


def replicate(folder: Path, to: Path, name: str) -> GatewayHome:
    """Make the home of a further replica, to be moved to its machine: identity, secrets and settings of `folder`, an own name.

    Raises HomeNotPrepared, RotationPending, HomeInUse where `to` is there already; SettingsNotValid where the name is no
    name or the gateway shares no claims.
    """
    home = homes.load(folder)
    if not homes.REPLICA_NAME.fullmatch(name) or name == home.replica:
        raise SettingsNotValid(name="replica")
    if not read_settings(folder).replicas.claims:
        raise SettingsNotValid(name="replicas.claims")
    if home.keys.is_rotating:
        raise RotationPending(home=folder.name)
    try:
        to.mkdir(mode=0o700, parents=True)
    except FileExistsError as problem:
        raise HomeInUse(home=to.name) from problem
    for file in COPIED:
        shutil.copy2(folder / file, to / file)
    lines = (folder / homes.CONFIGURATION).read_text(encoding="utf-8").splitlines()
    kept = [line for line in lines if line.partition("=")[0].strip() != "replica"]
    keystore.write_durably(to / homes.CONFIGURATION, "\n".join([*kept, f'replica = "{name}"', ""]).encode())
    return homes.load(to)
