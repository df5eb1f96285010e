"""Settings from the environment: all that is missing or wrong is reported at once, with why and where to set it."""

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit


@dataclass
class Environment:
    problems: list[str] = field(default_factory=list)

    def text(self, name: str, default: str = "") -> str:
        return os.environ.get(name, default)

    def required(self, name: str, why: str) -> str:
        value = os.environ.get(name, "")
        if not value:
            self.problems.append(f"{name}: {why}")
        return value

    def flag(self, name: str, *, default: bool = False) -> bool:
        value = os.environ.get(name, "")
        if value.lower() in ("", "0", "1", "no", "yes", "false", "true"):
            return default if not value else value.lower() in ("1", "yes", "true")
        self.problems.append(f"{name}: must be yes or no, is {value!r}")
        return default

    def words(self, name: str, default: str = "") -> list[str]:
        return [word.strip() for word in os.environ.get(name, default).split(",") if word.strip()]

    def path(self, name: str, default: Path) -> Path:
        value = os.environ.get(name)
        return Path(value).expanduser().resolve() if value else default

    def database(self, name: str, default_file: Path) -> dict[str, Any]:
        """`sqlite:///path`, or `postgresql://user:password@host:port/name` (also with `?host=/socket/dir`)."""
        url = os.environ.get(name, "")
        if not url or url.startswith("sqlite:///"):
            return {
                "ENGINE": "django.db.backends.sqlite3",
                "NAME": Path(url.removeprefix("sqlite:///")) if url else default_file,
                "OPTIONS": {
                    "transaction_mode": "IMMEDIATE",
                    "timeout": 30,
                    "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA foreign_keys=ON;",
                },
            }
        parts = urlsplit(url)
        if parts.scheme not in ("postgresql", "postgres"):
            self.problems.append(f"{name}: must begin with sqlite:/// or postgresql://")
            return {}
        query = dict(pair.split("=", 1) for pair in parts.query.split("&") if "=" in pair)
        return {
            "ENGINE": "django.db.backends.postgresql",
            "NAME": parts.path.lstrip("/"),
            "USER": unquote(parts.username or ""),
            "PASSWORD": unquote(parts.password or ""),
            "HOST": unquote(query.get("host", parts.hostname or "")),
            "PORT": str(parts.port or ""),
            "CONN_MAX_AGE": 60,
            "CONN_HEALTH_CHECKS": True,
        }

    def check(self) -> None:
        if self.problems:
            lines = "\n".join(f"  {problem}" for problem in self.problems)
            raise SystemExit(
                f"These settings are missing or wrong:\n{lines}\nSet them in the environment of the process."
            )
