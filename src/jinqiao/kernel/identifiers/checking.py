"""What the identifiers share: how a text is read, and where a sign is not of the alphabet."""

import unicodedata

from jinqiao.kernel.identifiers.errors import CharacterWrong, LengthWrong


def compact(text: str, *, drop: str = " -") -> str:
    """Full-width signs narrowed (NFKC), upper case, without `drop` and outer blanks."""
    narrow = unicodedata.normalize("NFKC", text).strip().upper()
    return "".join(sign for sign in narrow if sign not in drop)


def check_form(value: str, kind: str, length: int, alphabet: str) -> None:
    """Raises LengthWrong, CharacterWrong."""
    if len(value) != length:
        raise LengthWrong(kind=kind, wanted=length, got=len(value))
    for at, sign in enumerate(value, 1):
        if sign not in alphabet:
            raise CharacterWrong(kind=kind, position=at)
