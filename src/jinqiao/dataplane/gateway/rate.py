"""How often a service was called in the last minute."""

from collections import deque

MINUTE_S = 60.0


class RateMeter:
    """A sliding window per service: exact, and no more than the limit's number of instants are kept."""

    def __init__(self) -> None:
        self._calls: dict[str, deque[float]] = {}

    def wait_s(self, service: str, limit: int, now: float, keys: int = 1) -> float:
        """Seconds until a call of so many look-ups is within the limit; 0 when it is already. `now` is monotonic."""
        calls = self._calls.get(service)
        if calls is None:
            return MINUTE_S if limit < 1 else 0.0
        while calls and calls[0] <= now - MINUTE_S:
            calls.popleft()
        if limit < 1:
            return MINUTE_S
        too_many = len(calls) + min(keys, limit) - limit
        # sums of floating-point numbers may come out a little over the minute
        return min(MINUTE_S, calls[too_many - 1] + MINUTE_S - now) if too_many > 0 else 0.0

    def count(self, service: str, now: float, keys: int = 1) -> None:
        calls = self._calls.setdefault(service, deque())
        if keys == 1:
            calls.append(now)
        else:
            calls.extend([now] * keys)

    def hear(self, service: str, now: float, keys: int) -> None:
        """Count what another process has admitted. Whether we are ever asked for it ourselves or not, a minute's is kept."""
        calls = self._calls.get(service)
        while calls and calls[0] <= now - MINUTE_S:
            calls.popleft()
        self.count(service, now, keys)

    def keep_only(self, services: set[str]) -> None:
        """Forget services that the policy does not know any more."""
        for service in self._calls.keys() - services:
            del self._calls[service]
