"""The few structured fields (RFC 9651) that signatures need, read strictly: what we do not know is refused, not skipped."""

import base64
import binascii
import re
from dataclasses import dataclass
from functools import lru_cache

from jinqiao.kernel.httpsig.errors import SignatureMalformed

_KEY = re.compile(r"[a-z*][a-z0-9_\-.*]*")
_STRING = re.compile(r'"((?:[ !#-\[\]-~]|\\["\\])*)"')
_INTEGER = re.compile(r"-?[0-9]{1,15}")
_BINARY = re.compile(r":([A-Za-z0-9+/]*={0,2}):")
_MOST = 8192  # characters of one field
# one member as our own clients write it; of its four parts a client writes the first and the last alike in all of its calls
_USUAL_INPUT = re.compile(
    r'([a-z*][a-z0-9_\-.*]*=\([ "a-z0-9@*\-]*\))'
    r';created=([0-9]{1,15});nonce="([ !#-\[\]-~]*)"'
    r'(;keyid="[ !#-\[\]-~]*";alg="[ !#-\[\]-~]*";tag="[ !#-\[\]-~]*")'
)
_USUAL_BINARY = re.compile(r"([a-z*][a-z0-9_\-.*]*)=:([A-Za-z0-9+/]*={0,2}):")


@dataclass(slots=True)
class InnerList:
    """`("a" "b");key=value`, with the characters it was written in: they are what the signature covers."""

    items: tuple[str, ...]
    parameters: dict[str, str | int]
    written: str


class _Reader:
    def __init__(self, text: str, where: str) -> None:
        self.text, self.at, self.where = text, 0, where
        if len(text) > _MOST:
            raise SignatureMalformed(field=where)

    def fail(self) -> SignatureMalformed:
        return SignatureMalformed(field=self.where)

    def more(self) -> bool:
        return self.at < len(self.text)

    def next_is(self, sign: str) -> bool:
        return self.text.startswith(sign, self.at)

    def skip(self, sign: str) -> None:
        if not self.next_is(sign):
            raise self.fail()
        self.at += len(sign)

    def spaces(self) -> None:
        while self.more() and self.text[self.at] in " \t":
            self.at += 1

    def match(self, pattern: re.Pattern[str]) -> re.Match[str]:
        found = pattern.match(self.text, self.at)
        if not found:
            raise self.fail()
        self.at = found.end()
        return found

    def string(self) -> str:
        return re.sub(r'\\(["\\])', r"\1", self.match(_STRING).group(1))

    def parameters(self) -> dict[str, str | int]:
        found: dict[str, str | int] = {}
        while self.next_is(";"):
            self.skip(";")
            self.spaces()
            name = self.match(_KEY).group()
            self.skip("=")
            if name in found:
                raise self.fail()
            found[name] = self.string() if self.next_is('"') else int(self.match(_INTEGER).group())
        return found

    def inner_list(self) -> InnerList:
        start = self.at
        self.skip("(")
        items: list[str] = []
        self.spaces()
        while not self.next_is(")"):
            items.append(self.string())
            if not self.next_is(")"):
                self.skip(" ")
                self.spaces()
        self.skip(")")
        parameters = self.parameters()
        return InnerList(tuple(items), parameters, self.text[start : self.at])

    def binary(self) -> bytes:
        try:
            return base64.b64decode(self.match(_BINARY).group(1), validate=True)
        except binascii.Error as problem:
            raise self.fail() from problem

    def next_member(self) -> str | None:
        """Name of the next member of a dictionary, up to its `=`; None at the end."""
        self.spaces()
        if not self.more():
            return None
        if self.at:
            self.skip(",")
            self.spaces()
        name = self.match(_KEY).group()
        self.skip("=")
        return name


@lru_cache(512)
def _lasting(begin: str, end: str) -> tuple[str, InnerList]:
    """Label and content of the parts that a client always writes alike."""
    ((label, inner),) = read_any_signature_inputs(begin + end).items()
    return label, inner


def read_signature_inputs(text: str) -> dict[str, InnerList]:
    usual = read_usual_signature_input(text)
    if usual is None:
        return read_any_signature_inputs(text)
    label, lasting, created, nonce = usual
    parameters = {**lasting.parameters, "created": created, "nonce": nonce}
    return {label: InnerList(lasting.items, parameters, text[len(label) + 1 :])}


def read_usual_signature_input(text: str) -> tuple[str, InnerList, int, str] | None:
    """A `Signature-Input` with one member, written as our own clients write it; None of any other.

    Its label, the content of what lasts from call to call (items, `keyid`, `alg`, `tag`), `created` and `nonce`.
    """
    usual = _USUAL_INPUT.fullmatch(text) if len(text) <= _MOST else None
    if usual is None:
        return None
    begin, created, nonce, end = usual.groups()
    label, lasting = _lasting(begin, end)
    return label, lasting, int(created), nonce


def read_any_signature_inputs(text: str) -> dict[str, InnerList]:
    """`Signature-Input` however it is written."""
    reader, found = _Reader(text, "Signature-Input"), dict[str, InnerList]()
    while (name := reader.next_member()) is not None:
        if name in found:
            raise reader.fail()
        found[name] = reader.inner_list()
    return found


def read_binaries(text: str, where: str) -> dict[str, bytes]:
    """`Signature` or `Content-Digest`: name → bytes."""
    usual = _USUAL_BINARY.fullmatch(text) if len(text) <= _MOST else None
    if usual is not None:
        try:
            return {usual[1]: binascii.a2b_base64(usual[2], strict_mode=True)}
        except binascii.Error as problem:
            raise SignatureMalformed(field=where) from problem
    return read_any_binaries(text, where)


def read_any_binaries(text: str, where: str) -> dict[str, bytes]:
    """A dictionary of binaries however it is written."""
    reader, found = _Reader(text, where), dict[str, bytes]()
    while (name := reader.next_member()) is not None:
        if name in found:
            raise reader.fail()
        found[name] = reader.binary()
    return found


def written_binary(data: bytes) -> str:
    return f":{binascii.b2a_base64(data, newline=False).decode('ascii')}:"


def written_string(text: str) -> str:
    if not all(" " <= sign <= "~" for sign in text):
        raise ValueError("a structured field holds printable ASCII only")
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
