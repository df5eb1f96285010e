"""Logs as lines of JSON, and without values of persons.

A line holds when, how severe, which module, what. Of an exception it holds the kinds and the places in our code, never its words: a
database's complaint may quote a row. Refusals of calls stand in the evidence; the log gets one line a code and minute.
"""

import json
import logging
import time
import traceback
from collections import Counter
from datetime import UTC, datetime

logger = logging.getLogger(__name__)

SAY_EVERY_S = 60.0


class JsonLines(logging.Formatter):
    """One JSON object a line. `lane`, where given, says which process of a gateway speaks."""

    def __init__(self, lane: str = "") -> None:
        super().__init__()
        self._lane = lane

    def format(self, record: logging.LogRecord) -> str:
        fields = {
            "at": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "from": record.name,
            "what": record.getMessage(),
        }
        if self._lane:
            fields["lane"] = self._lane
        if record.exc_info and record.exc_info[1] is not None:
            fields["exception"] = exception_places(record.exc_info[1])
        return json.dumps(fields, ensure_ascii=False)


def exception_places(problem: BaseException) -> str:
    """Kinds of an exception and its causes, each with where it was raised; none of their words."""
    parts: list[str] = []
    current: BaseException | None = problem
    while current is not None and len(parts) < 5:
        frames = traceback.extract_tb(current.__traceback__)
        where = f"{frames[-1].name}:{frames[-1].lineno}" if frames else "?"
        parts.append(f"{type(current).__name__} in {where}")
        current = current.__cause__ or current.__context__
    return " from ".join(parts)


def set_up(lane: str = "", level: int = logging.INFO) -> None:
    """Send everything to standard error as lines of JSON."""
    handler = logging.StreamHandler()
    handler.setFormatter(JsonLines(lane))
    root = logging.getLogger()
    for old in list(root.handlers):
        root.removeHandler(old)
    root.addHandler(handler)
    root.setLevel(level)
    for name in ("httpx", "httpcore", "asyncio"):
        logging.getLogger(name).setLevel(logging.WARNING)


class RefusalLog:
    """Says of each code at most once a minute how often calls were refused by it since it was said last."""

    def __init__(self) -> None:
        self._since: Counter[str] = Counter()
        self._said: dict[str, float] = {}

    def note(self, code: str) -> None:
        self._since[code] += 1
        now = time.monotonic()
        said = self._said.get(code)
        if said is None or now - said >= SAY_EVERY_S:
            self._said[code] = now
            logger.info("calls refused: %s (%d)", code, self._since.pop(code))
