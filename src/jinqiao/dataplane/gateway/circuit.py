"""A circuit breaker: a source that failed several times in a row is left alone for a while, then tried with one call."""

from jinqiao.dataplane.gateway.errors import SourceResting

FAILURES = 5
FIRST_REST_S = 5.0
MOST_REST_S = 60.0


class Circuit:
    """Closed: calls pass. Open: they are refused until the rest is over. Half open: one call is let through and decides.

    Belongs to the event loop. Times are monotonic seconds.
    """

    def __init__(self) -> None:
        self._failures = 0
        self._rest_s = FIRST_REST_S
        self._opens_at: float | None = None
        self._is_probing = False

    @property
    def is_closed(self) -> bool:
        return self._opens_at is None

    def enter(self, now: float) -> None:
        """Let a call through, to be followed by `succeeded` or `failed`. Raises SourceResting."""
        if self._opens_at is None:
            return
        if now < self._opens_at or self._is_probing:
            raise SourceResting(retry_after=max(1, int(self._opens_at - now + 0.999)))
        self._is_probing = True

    def succeeded(self) -> None:
        self._failures, self._rest_s, self._opens_at, self._is_probing = 0, FIRST_REST_S, None, False

    def failed(self, now: float) -> None:
        """Each probe that fails doubles the rest."""
        self._failures += 1
        if self._is_probing:
            self._rest_s = min(self._rest_s * 2, MOST_REST_S)
        elif self._failures < FAILURES or self._opens_at is not None:
            return
        self._opens_at, self._is_probing = now + self._rest_s, False
