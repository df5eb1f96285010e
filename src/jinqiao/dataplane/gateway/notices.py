"""What a gateway tells its callers beside an answer: a service that ends, a policy that is old."""

from datetime import UTC, date, datetime, time, timedelta
from email.utils import format_datetime
from functools import lru_cache

from jinqiao.kernel.contracts.policy import ServicePolicy
from jinqiao.kernel.moments import CHINA

Header = tuple[bytes, bytes]

POLICY_AGE = b"jinqiao-policy-age"


def deprecation(service: ServicePolicy, operation: str) -> list[Header]:
    """Headers of every answer of a service whose end is announced; none for others.

    `Deprecation` (RFC 9745): since when it is deprecated, in Unix seconds. `Sunset` (RFC 8594): from when on it does not answer any
    more, which is the end of its last day in local time. `Link` with `successor-version` (RFC 5829): what to call instead.
    """
    if service.deprecated_on is None and service.ends_on is None:
        return []
    return _deprecation(service.deprecated_on, service.ends_on, service.successor, operation)


@lru_cache(maxsize=256)
def _deprecation(deprecated_on: date | None, ends_on: date | None, successor: str, operation: str) -> list[Header]:
    headers: list[Header] = []
    if deprecated_on is not None:
        headers.append((b"deprecation", b"@%d" % int(_midnight(deprecated_on).timestamp())))
    if ends_on is not None:
        end = (_midnight(ends_on) + timedelta(days=1)).astimezone(UTC)
        headers.append((b"sunset", format_datetime(end, usegmt=True).encode()))
    if successor:
        link = f'</gateway/v1/services/{successor}/{operation}>; rel="successor-version"'
        headers.append((b"link", link.encode("ascii", "replace")))
    return headers


def _midnight(day: date) -> datetime:
    return datetime.combine(day, time(), CHINA)


def policy_age(age_s: float, old_s: float) -> list[Header]:
    """A header with the age of the policy in seconds where it is older than `old_s`: nobody could revoke anything meanwhile."""
    return [(POLICY_AGE, b"%d" % int(age_s))] if age_s > old_s else []
