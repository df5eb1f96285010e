"""ODBC connection strings: `Driver={PostgreSQL Unicode};Server=10.8.0.5;Database=hr`, taken apart and put together safely.

User and password are no part of what is stored: they are added when a connection is opened, so quoted that no value can end
early and bring an attribute of its own.
"""

import re
from collections.abc import Mapping

from jinqiao.dataplane.errors import OdbcStringNotValid

_SECRET = frozenset({"uid", "user", "username", "user id", "pwd", "password"})


def parse(text: str) -> dict[str, str]:
    """Attributes in their order, names as written. Raises OdbcStringNotValid, also where user or password stand inside."""
    found: dict[str, str] = {}
    rest = text.strip()
    while rest:
        name, equals, rest = rest.partition("=")
        name, rest = name.strip(), rest.lstrip()
        if not equals or not name or any(mark in name for mark in "{};\0"):
            raise OdbcStringNotValid(reason="form")
        if rest.startswith("{"):
            value, rest = _braced(rest)
        else:
            value, _, rest = rest.partition(";")
            value = value.strip()
        if name.lower() in _SECRET:
            raise OdbcStringNotValid(reason="password")
        if name.lower() in (known.lower() for known in found):
            raise OdbcStringNotValid(reason="twice")
        found[name] = value
        rest = rest.lstrip(" ;")
    if not {"driver", "dsn"} & {name.lower() for name in found}:
        raise OdbcStringNotValid(reason="driver")
    return found


def _braced(text: str) -> tuple[str, str]:
    """The value of `{…}` with its doubled closing braces, and what follows it."""
    value, at = "", 1
    while True:
        end = text.find("}", at)
        if end < 0:
            raise OdbcStringNotValid(reason="form")
        value += text[at:end]
        if text[end + 1 : end + 2] != "}":
            break
        value += "}"
        at = end + 2
    rest = text[end + 1 :].lstrip()
    if rest and not rest.startswith(";"):
        raise OdbcStringNotValid(reason="form")
    return value, rest[1:]


def extended(text: str, defaults: Mapping[str, str], secret: Mapping[str, str]) -> str:
    """The string as it was written, then those defaults that it does not name, then `secret` (user and password).

    It ends in `;`, since libraries append to it. Raises OdbcStringNotValid.
    """
    known = {name.lower() for name in parse(text)}
    further = {name: value for name, value in defaults.items() if name.lower() not in known} | dict(secret)
    return text.strip().rstrip("; ") + ";" + "".join(f"{name}={_quoted(value)};" for name, value in further.items())


def _quoted(value: str) -> str:
    """In braces unless it is plain: drivers take other marks for ends, and one takes `%41` for `A` outside of braces."""
    if "\0" in value:
        raise OdbcStringNotValid(reason="form")
    return value if re.fullmatch(r"[\w.:-]*", value) else "{" + value.replace("}", "}}") + "}"
