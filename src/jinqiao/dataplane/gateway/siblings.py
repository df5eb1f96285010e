"""Workers of one gateway tell each other what they counted, so that rates and quotas hold for all of them together.

Each listens on a datagram socket in the home; what it counted goes out a few times a second. So a limit is overrun by no more than
what the others admit within `TELL_EVERY_S` and the way of a datagram: the tolerance that operating.md states. Quotas of a day are
exact again after each start, since they are counted from the evidence.
"""

import asyncio
import contextlib
import json
import logging
import os
import socket
from collections import Counter, deque
from collections.abc import Callable, Iterator
from pathlib import Path

logger = logging.getLogger(__name__)

TELL_EVERY_S = 0.05
ENTRIES = 200  # of a letter: some 20 KB
MOST_OWED = 1000  # letters to one sibling that does not read
MOST_BYTES = 200_000

Rate = Callable[[str, int], None]
Use = Callable[[str, str, str, int, int], None]


class Siblings:
    """`rate(metered, keys)` and `use(environment, service, application, keys, rows)` are called with what the others counted."""

    def __init__(self, home: Path, lane: str, rate: Rate, use: Use) -> None:
        self._home, self._own = home, home / f"lane-{lane}.sock"
        self._rate, self._use = rate, use
        self._socket: socket.socket | None = None
        self._rates: Counter[str] = Counter()
        self._uses: dict[tuple[str, str, str], list[int]] = {}
        self._owed: dict[Path, deque[bytes]] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    def start(self) -> None:
        """Listen. The lane is ours, so an old socket of it belongs to nobody."""
        self._own.unlink(missing_ok=True)
        made = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        made.setblocking(False)
        with _in_folder(self._own) as address:
            made.bind(address)
        self._own.chmod(0o600)
        self._socket, self._loop = made, asyncio.get_running_loop()
        self._loop.add_reader(made.fileno(), self._hear)

    def stop(self) -> None:
        if self._socket is None or self._loop is None:
            return
        self._tell()
        if self._timer is not None:
            self._timer.cancel()
        self._loop.remove_reader(self._socket.fileno())
        self._socket.close()
        self._socket = None
        self._own.unlink(missing_ok=True)

    def counted(self, metered: str, keys: int = 1) -> None:
        """A call was admitted under a rate."""
        self._rates[metered] += keys
        self._tell_soon()

    def used(self, environment: str, service: str, application: str, keys: int, rows: int) -> None:
        """Something of a quota of the day was used."""
        use = self._uses.setdefault((environment, service, application), [0, 0])
        use[0] += keys
        use[1] += rows
        self._tell_soon()

    def _tell_soon(self) -> None:
        if self._timer is None and self._loop is not None:
            self._timer = self._loop.call_later(TELL_EVERY_S, self._tell)

    def _tell(self) -> None:
        self._timer = None
        if self._socket is None:
            return
        letters = self._letters()
        others = [other for other in self._home.glob("lane-*.sock") if other != self._own]
        for gone in self._owed.keys() - set(others):
            del self._owed[gone]
        for other in others:
            owed = self._owed.setdefault(other, deque(maxlen=MOST_OWED))
            owed.extend(letters)
            self._send(other, owed)
        if any(self._owed.values()):
            self._tell_soon()

    def _letters(self) -> list[bytes]:
        """What was counted since the last time, in parts that fit into datagrams."""
        rates, uses = list(self._rates.items()), [[*key, *use] for key, use in self._uses.items()]
        self._rates.clear()
        self._uses.clear()
        most = max(len(rates), len(uses))
        return [
            json.dumps([rates[at : at + ENTRIES], uses[at : at + ENTRIES]]).encode() for at in range(0, most, ENTRIES)
        ]

    def _send(self, other: Path, owed: deque[bytes]) -> None:
        """Send what is owed to one; what does not get through now, because it is busy, stays owed."""
        while owed and self._socket is not None:
            try:
                with _in_folder(other) as address:
                    self._socket.sendto(owed[0], address)
            except BlockingIOError:
                return
            except (ConnectionRefusedError, FileNotFoundError):  # ended or killed; its lane's next holder begins anew
                owed.clear()
                return
            except OSError as problem:
                logger.warning("a sibling does not hear: %s", type(problem).__name__)
            owed.popleft()

    def _hear(self) -> None:
        while self._socket is not None:
            try:
                letter = self._socket.recv(MOST_BYTES)
            except BlockingIOError:
                return
            except OSError:
                return
            self._take(letter)

    def _take(self, letter: bytes) -> None:
        try:
            rates, uses = json.loads(letter)
            for metered, keys in rates:
                self._rate(str(metered), int(keys))
            for environment, service, application, keys, rows in uses:
                self._use(str(environment), str(service), str(application), int(keys), int(rows))
        except (ValueError, TypeError) as problem:
            logger.warning("a sibling's letter cannot be read: %s", type(problem).__name__)


@contextlib.contextmanager
def _in_folder(path: Path) -> Iterator[str]:
    """An address of a socket that is short whatever the folder is called: 107 bytes are all that the kernel takes."""
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{folder}/{path.name}"
    finally:
        os.close(folder)
