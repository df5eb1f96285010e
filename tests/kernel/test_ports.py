import socket
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from jinqiao.kernel import ports
from jinqiao.kernel.ports import free_port


def test_a_free_port_can_be_bound_and_is_none_that_outgoing_connections_are_given() -> None:
    lowest = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    found = free_port()
    assert 1024 < found < max(lowest, 1025)
    with socket.create_server(("127.0.0.1", found)):
        pass


def test_a_port_that_is_listened_on_is_not_free(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", free_port())) as taken:
        number = taken.getsockname()[1]
        drawn = iter([number, number, number + 1, *range(number + 2, number + 50)])
        monkeypatch.setattr(ports.random, "randint", lambda *_: next(drawn))
        assert free_port() > number


def test_many_that_ask_at_once_seldom_get_the_same() -> None:
    with ThreadPoolExecutor(8) as asking:
        found = list(asking.map(lambda _: free_port(), range(64)))
    assert len(set(found)) >= 60


@pytest.mark.parametrize("first", [1024, 10_240])
def test_where_every_port_is_given_out_the_kernel_chooses(monkeypatch: pytest.MonkeyPatch, first: int) -> None:
    monkeypatch.setattr(ports, "_first_given_out", lambda: first)
    with socket.create_server(("127.0.0.1", free_port())):
        pass


def test_a_host_of_another_machine_is_refused() -> None:
    with pytest.raises(OSError):
        free_port("192.0.2.1")
