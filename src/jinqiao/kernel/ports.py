"""Ports of this machine that a part of the platform, or a test, may listen on."""

import random
import socket
from pathlib import Path

_GIVEN_OUT = Path("/proc/sys/net/ipv4/ip_local_port_range")
_LOWEST, _HIGHEST = 10_240, 32_767
_TRIES = 200


def free_port(host: str = "127.0.0.1") -> int:
    """A port that nothing listens on at `host`, and that no outgoing connection is given before its user binds it.

    The kernel takes the near ends of outgoing connections from a range of its own (Linux: ip_local_port_range), and what it
    gives for port 0 as well: a port of that range, free a moment ago, may be another program's when a server binds it, or when
    one that died is started again. Drawn by chance, for several may ask at once. Raises OSError where `host` is not of this machine.
    """
    highest = min(_HIGHEST, _first_given_out() - 1)
    for _ in range(_TRIES if highest > _LOWEST else 0):
        port = random.randint(_LOWEST, highest)  # noqa: S311  (no secret)
        with socket.socket() as probe:
            try:
                probe.bind((host, port))
            except PermissionError:
                break
            except OSError:
                continue
            return port
    with socket.socket() as probe:
        probe.bind((host, 0))
        return int(probe.getsockname()[1])


def _first_given_out() -> int:
    try:
        return int(_GIVEN_OUT.read_text().split()[0])
    except (OSError, ValueError, IndexError):
        return _HIGHEST + 1
