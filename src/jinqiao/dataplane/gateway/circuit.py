"""A circuit breaker: a source that failed several times in a row is left alone for a while, then tried with one call.

Where the source has a registered health path, a probe of it tries instead of somebody's call (`gateway.probing`).
"""

from jinqiao.dataplane.gateway.errors import SourceResting

FAILURES = 5
FIRST_REST_S = 5.0
MOST_REST_S = 60.0


class Circuit:
    """Closed: calls pass. Open: they are refused until the rest is over. Half open: one call is let through and decides, or a
    probe does where `is_probed`.

    Belongs to the event loop. Times are monotonic seconds.
    """

    def __init__(self) -> None:
        self._failures = 0
        self._rest_s = FIRST_REST_S
        self._opens_at: float | None = None
        self._is_probing = False
        self.is_probed = False

    @property
    def tries_at(self) -> float | None:
        """From when on it wants to be tried; None while it is closed."""
        return self._opens_at

    @property
    def is_closed(self) -> bool:
        return self._opens_at is None

    def enter(self, now: float) -> None:
        """Let a call through, to be followed by `succeeded` or `failed`. Raises SourceResting."""
        if self._opens_at is None:
            return
        if now < self._opens_at or self._is_probing or self.is_probed:
            raise SourceResting(retry_after=max(1, int(self._opens_at - now + 0.999)))
        self._is_probing = True

    def succeeded(self) -> None:
        self._failures, self._rest_s, self._opens_at, self._is_probing = 0, FIRST_REST_S, None, False

    def left(self) -> None:
        """A call that was let through ends without a word on the source."""
        self._is_probing = False

    def heard(self, is_well: bool, now: float) -> None:
        """What a probe found. One that fails counts as a call that fails. One that is answered closes a circuit whose rest is over;
        the next call that fails all the same opens it again, for as long as before: a service may be well and not answer."""
        if self._opens_at is None:
            if not is_well:
                self.failed(now)
        elif now >= self._opens_at and not self._is_probing:
            if is_well:
                self._failures, self._opens_at = FAILURES - 1, None
            else:
                self._rest_s = min(self._rest_s * 2, MOST_REST_S)
                self._opens_at = now + self._rest_s

    def failed(self, now: float) -> None:
        """Each probe that fails doubles the rest."""
        self._failures += 1
        if self._is_probing:
            self._rest_s = min(self._rest_s * 2, MOST_REST_S)
        elif self._failures < FAILURES or self._opens_at is not None:
            return
        self._opens_at, self._is_probing = now + self._rest_s, False
