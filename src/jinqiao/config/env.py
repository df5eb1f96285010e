"""Settings from the environment: all that is missing or wrong is reported at once, with why and where to set it."""

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit


@dataclass(frozen=True, slots=True)
class Mail:
    """How mail is sent. `backend` is Django's, "" where none is sent."""

    backend: str = ""
    host: str = ""
    port: int = 25
    user: str = ""
    password: str = field(default="", repr=False)
    is_tls: bool = False
    is_starttls: bool = False
    folder: Path = Path()


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

    def seconds(self, name: str, default: float) -> float:
        value = os.environ.get(name, "")
        try:
            seconds = float(value) if value else default
        except ValueError:
            seconds = 0.0
        if not 0 < seconds < 1e6:
            self.problems.append(f"{name}: must be a number of seconds, is {value!r}")
            return default
        return seconds

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

    def mail(self, name: str, folder: Path) -> Mail:
        """ "" (none), `console`, `file` (into the folder), `smtp://user:password@host:port` (STARTTLS with `smtp+tls://`) or
        `smtps://…`."""
        given = os.environ.get(name, "")
        if given in ("", "console", "file"):
            backend = {"console": "console", "file": "filebased"}.get(given, "")
            return Mail(f"django.core.mail.backends.{backend}.EmailBackend" if backend else "", folder=folder)
        try:
            parts = urlsplit(given)
            port = parts.port
        except ValueError:
            self.problems.append(f"{name}: is no address")
            return Mail(folder=folder)
        if parts.scheme not in ("smtp", "smtps", "smtp+tls") or not parts.hostname:
            self.problems.append(f"{name}: must be empty, console, file, smtp://…, smtp+tls://… or smtps://…")
            return Mail(folder=folder)
        return Mail(
            "django.core.mail.backends.smtp.EmailBackend",
            parts.hostname,
            port or {"smtps": 465, "smtp+tls": 587}.get(parts.scheme, 25),
            unquote(parts.username or ""),
            unquote(parts.password or ""),
            is_tls=parts.scheme == "smtps",
            is_starttls=parts.scheme == "smtp+tls",
            folder=folder,
        )

    def check(self) -> None:
        if self.problems:
            lines = "\n".join(f"  {problem}" for problem in self.problems)
            raise SystemExit(
                f"These settings are missing or wrong:\n{lines}\nSet them in the environment of the process."
            )
