"""The form of every contract: a frozen dataclass with a version, to and from plain JSON values.

`to_json` gives only dict, list, str, int, float, bool, None; dates and instants as ISO 8601, enums by value, bytes as base64.
`from_json` reads the same back and raises `ContractBroken` where a field is missing, unknown or of another type, so that two
processes of different age find out at the door. `canonical` is the byte form that signatures cover (RFC 8785 ordering:
sorted keys, no spaces, UTF-8).
"""

import base64
import dataclasses
import enum
import json
import types
import typing
from datetime import date, datetime
from typing import Any, ClassVar, Self

from jinqiao.kernel.errors import InvalidInput


class ContractBroken(InvalidInput):
    """A message between the planes does not have the agreed form."""

    code = "contract.broken"


def _encode(value: Any) -> Any:
    if isinstance(value, Contract):
        return value.to_json()
    if isinstance(value, enum.Enum):
        return value.value
    if isinstance(value, datetime | date):
        return value.isoformat()
    if isinstance(value, bytes):
        return base64.b64encode(value).decode("ascii")
    if isinstance(value, dict):
        return {str(key): _encode(item) for key, item in value.items()}
    if isinstance(value, tuple | list | frozenset | set):
        items = [_encode(item) for item in value]
        return sorted(items) if isinstance(value, frozenset | set) else items
    return value


def _decode(kind: Any, value: Any, where: str) -> Any:
    origin = typing.get_origin(kind)
    arguments = typing.get_args(kind)
    if kind is Any:
        return value
    if origin in (typing.Union, types.UnionType):
        if value is None and type(None) in arguments:
            return None
        inner = [argument for argument in arguments if argument is not type(None)]
        if len(inner) == 1:
            return _decode(inner[0], value, where)
        for argument in inner:
            if (
                isinstance(argument, type)
                and isinstance(value, argument)
                and not (argument is int and isinstance(value, bool))
            ):
                return value
        raise ContractBroken(where=where, wanted=str(kind), got=type(value).__name__)
    if origin is tuple:
        if not isinstance(value, list):
            raise ContractBroken(where=where, wanted="list", got=type(value).__name__)
        if len(arguments) == 2 and arguments[1] is Ellipsis:
            return tuple(_decode(arguments[0], item, f"{where}[{at}]") for at, item in enumerate(value))
        return tuple(_decode(arguments[at], item, f"{where}[{at}]") for at, item in enumerate(value))
    if origin is frozenset:
        return frozenset(_decode(arguments[0], item, where) for item in value)
    if origin is dict:
        if not isinstance(value, dict):
            raise ContractBroken(where=where, wanted="object", got=type(value).__name__)
        return {key: _decode(arguments[1], item, f"{where}.{key}") for key, item in value.items()}
    try:
        if isinstance(kind, type):
            if issubclass(kind, Contract):
                return kind.from_json(value)
            if issubclass(kind, enum.Enum):
                return kind(value)
            if issubclass(kind, datetime):
                return datetime.fromisoformat(value)
            if issubclass(kind, date):
                return date.fromisoformat(value)
            if issubclass(kind, bytes):
                return base64.b64decode(value, validate=True)
            if kind is float and isinstance(value, int) and not isinstance(value, bool):
                return float(value)
            if isinstance(value, kind) and not (kind is int and isinstance(value, bool)):
                return value
    except (ValueError, TypeError) as problem:
        raise ContractBroken(where=where, wanted=kind.__name__, got=type(value).__name__) from problem
    raise ContractBroken(where=where, wanted=str(kind), got=type(value).__name__)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Contract:
    """Base of all messages between the planes. Subclasses raise `VERSION` when the meaning of a field changes."""

    VERSION: ClassVar[int] = 1
    READS_ALSO: ClassVar[tuple[int, ...]] = ()  # earlier versions that lack only fields which have defaults now

    def to_json(self) -> dict[str, Any]:
        fields = {field.name: _encode(getattr(self, field.name)) for field in dataclasses.fields(self)}
        return {"_": f"{type(self).__name__}/{self.VERSION}", **fields}

    @classmethod
    def from_json(cls, data: Any) -> Self:
        if not isinstance(data, dict):
            raise ContractBroken(where=cls.__name__, wanted="object", got=type(data).__name__)
        expected = f"{cls.__name__}/{cls.VERSION}"
        if data.get("_") not in (expected, *(f"{cls.__name__}/{version}" for version in cls.READS_ALSO)):
            raise ContractBroken(where=cls.__name__, wanted=expected, got=str(data.get("_")))
        hints = typing.get_type_hints(cls)
        known = {field.name: field for field in dataclasses.fields(cls)}
        unknown = set(data) - set(known) - {"_"}
        if unknown:
            raise ContractBroken(where=cls.__name__, wanted="known fields", got=", ".join(sorted(unknown)))
        values: dict[str, Any] = {}
        for name, field in known.items():
            if name in data:
                values[name] = _decode(hints[name], data[name], f"{cls.__name__}.{name}")
            elif field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING:
                raise ContractBroken(where=f"{cls.__name__}.{name}", wanted="a value", got="nothing")
        return cls(**values)

    def canonical(self) -> bytes:
        """The bytes that a signature or a digest of this message covers."""
        return canonical_json(self.to_json())


def canonical_json(value: Any) -> bytes:
    """JSON with sorted keys, no spaces, UTF-8: the same value gives the same bytes everywhere."""
    return json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":"), allow_nan=False).encode("utf-8")
