"""What one worker counts the others hear, in folders of any length, past dead ones and past nonsense."""

import asyncio
import socket
from collections import Counter
from pathlib import Path

from jinqiao.dataplane.gateway.siblings import Siblings


class Ear:
    """A sibling that sums up what it hears."""

    def __init__(self, home: Path, lane: str) -> None:
        self.rates: Counter[str] = Counter()
        self.uses: Counter[tuple[str, str, str, str]] = Counter()
        self.siblings = Siblings(home, lane, self.rate, self.use)

    def rate(self, metered: str, keys: int) -> None:
        self.rates[metered] += keys

    def use(self, environment: str, service: str, application: str, keys: int, rows: int) -> None:
        self.uses[environment, service, application, "keys"] += keys
        self.uses[environment, service, application, "rows"] += rows


def test_every_count_reaches_every_other_worker_once(tmp_path: Path) -> None:
    home = tmp_path / ("a-long-name-" * 10)  # longer than an address of a socket may be
    home.mkdir()

    async def live() -> None:
        ears = [Ear(home, lane) for lane in "123"]
        for ear in ears:
            ear.siblings.start()
        try:
            for _ in range(5):
                ears[0].siblings.counted("marriage")
                ears[1].siblings.counted("marriage", 10)
            for number in range(3000):  # more services than fit into one letter
                ears[2].siblings.counted(f"service-of-a-department-{number:030}")
            ears[0].siblings.used("production", "marriage", "housing", 2, 7)
            ears[0].siblings.used("production", "marriage", "housing", 1, 0)
            wanted = ({"marriage": 50}, {"marriage": 5}, {"marriage": 55})
            while not all(ear.rates["marriage"] == want["marriage"] for ear, want in zip(ears, wanted, strict=True)):
                await asyncio.sleep(0.01)
            while len(ears[0].rates) < 3001 or len(ears[1].rates) < 3001:
                await asyncio.sleep(0.01)
            for ear in ears[1:]:
                assert ear.uses["production", "marriage", "housing", "keys"] == 3
                assert ear.uses["production", "marriage", "housing", "rows"] == 7
            assert not ears[0].uses
        finally:
            for ear in ears:
                ear.siblings.stop()

    asyncio.run(asyncio.wait_for(live(), 30))
    assert not list(home.glob("*.sock"))


def test_a_dead_sibling_and_a_letter_of_nonsense_are_no_trouble(tmp_path: Path) -> None:
    async def live() -> None:
        dead = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        dead.bind(str(tmp_path / "lane-9.sock"))
        dead.close()
        first, second = Ear(tmp_path, "1"), Ear(tmp_path, "2")
        first.siblings.start()
        second.siblings.start()
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as stranger:
                for letter in (b"", b"[", b"[1, 2]", b'[[["a", "b"]], []]', b"\xff"):
                    stranger.sendto(letter, str(tmp_path / "lane-2.sock"))
            first.siblings.counted("marriage", 3)
            while not second.rates["marriage"]:
                await asyncio.sleep(0.01)
            assert second.rates["marriage"] == 3
        finally:
            first.siblings.stop()
            second.siblings.stop()

    asyncio.run(asyncio.wait_for(live(), 30))
