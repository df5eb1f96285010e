"""Full-text search over published entries: one interface, two back ends.

Texts are segmented in Python (rjieba), names also as pinyin and as pinyin initials, so that SQLite (FTS5) and PostgreSQL
(tsvector and GIN) hold the same words and find the same. The index is a table without a model (`migrations/0002`): rows are
written when a version is published and removed when its entry is withdrawn; `rebuild` writes all anew.
"""

import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import islice

from django.db import connection
from django.db.models import Q
from django.db.models.expressions import RawSQL

from jinqiao.catalogue.enums import VersionState
from jinqiao.catalogue.models import EntryVersion

_SUFFIX_LETTERS = 40
_WORDS_MOST = 3000
_HAN = re.compile(r"[㐀-鿿\U00020000-\U0003ffff]+")
_RUNS = re.compile(r"[㐀-鿿\U00020000-\U0003ffff]+|[a-z0-9]+")


@dataclass(frozen=True, slots=True)
class Document:
    """The words of an entry by where they stand. `pinyin` also holds the initials."""

    entry_id: int
    name: tuple[str, ...]
    pinyin: tuple[str, ...]
    body: tuple[str, ...]


def index(version: EntryVersion) -> None:
    """Write the words of a published version; what stood there of the entry goes."""
    _write([_document(version)])


def remove(entry_id: int) -> None:
    with connection.cursor() as cursor:
        cursor.execute(f"DELETE FROM catalogue_search WHERE {_key()} = %s", [entry_id])  # noqa: S608 -- a constant name


def rebuild() -> int:
    """Write the whole index anew; returns how many entries it holds."""
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM catalogue_search")
    versions = (
        EntryVersion.objects.filter(state=VersionState.PUBLISHED, live_of__isnull=False)
        .select_related("entry__provider", "entry__node")
        .prefetch_related("items")
        .iterator(chunk_size=500)
    )
    count = 0
    while documents := [_document(version) for version in islice(versions, 500)]:
        _write(documents)
        count += len(documents)
    return count


def matching(text: str) -> Q | None:
    """Condition on entries: every word of the query is found in them. None where the query holds no word."""
    words = query_words(text)
    if not words:
        return None
    sql = f"SELECT {_key()} FROM catalogue_search WHERE {_matches()}"  # noqa: S608 -- constant names
    found = Q(pk__in=RawSQL(sql, [_expression(words, name_only=False)]))  # noqa: S611
    # segmentation may cut a query elsewhere than the name: 「婚」 is found in 婚姻登记 by its characters
    return found | Q(live_version__name__icontains=text.strip())


def matching_name(text: str) -> Q | None:
    """Condition on entries: every word of the query is found in the name."""
    words = query_words(text)
    if not words:
        return None
    sql = f"SELECT {_key()} FROM catalogue_search WHERE {_matches()}"  # noqa: S608 -- constant names
    return Q(pk__in=RawSQL(sql, [_expression(words, name_only=True)]))  # noqa: S611


def query_words(text: str) -> list[str]:
    """The words of a query, at most twenty: Chinese segmented, Latin letters and digits as they stand."""
    words: list[str] = []
    for run in _RUNS.findall(_plain(text)):
        words += _segment(run) if _HAN.match(run) else [run]
    return list(dict.fromkeys(words))[:20]


def pinyin_words(name: str) -> tuple[str, ...]:
    """Pinyin and initials of a name from each of its syllables on, so that a prefix finds any stretch: 登记 in 企业登记."""
    from pypinyin import lazy_pinyin  # its dictionaries take a quarter of a second to load

    syllables: list[str] = []
    for run in _RUNS.findall(_plain(name)):
        syllables += lazy_pinyin(run) if _HAN.match(run) else [run]
    words: dict[str, None] = {}
    for at in range(len(syllables)):
        words["".join(syllables[at:])[:_SUFFIX_LETTERS]] = None
        words["".join(one[0] for one in syllables[at:] if one)[:_SUFFIX_LETTERS]] = None
    return tuple(word for word in words if word)


def _document(version: EntryVersion) -> Document:
    entry = version.entry
    body = [version.abstract, entry.provider.name, entry.provider.short_name, version.provider_section, entry.node.name]
    body += [item.name for item in version.items.all()]
    codes = [entry.code or "", *(item.code for item in version.items.all())]
    return Document(
        entry.pk,
        tuple(_words(version.name)),
        pinyin_words(version.name),
        tuple(dict.fromkeys([*_words(" ".join(body)), *_words(" ".join(codes))])),
    )


def _words(text: str) -> list[str]:
    words: dict[str, None] = {}
    for run in _RUNS.findall(_plain(text)):
        for word in _segment(run, index=True) if _HAN.match(run) else [run]:
            words[word] = None
    return list(islice(words, _WORDS_MOST))


def _segment(run: str, *, index: bool = False) -> list[str]:
    import rjieba  # its dictionary takes a tenth of a second to load

    pieces: list[str] = [piece for piece in rjieba.cut_for_search(run) if _HAN.match(piece)]
    if not index:
        # 结婚登记 is one word of the dictionary; asked for by its parts it is also found where they stand apart
        pieces = [piece for piece in pieces if not _made_of_others(piece, pieces)]
    return pieces


def _made_of_others(word: str, pieces: Iterable[str]) -> bool:
    rest = word
    for piece in pieces:
        if piece != word:
            rest = rest.replace(piece, "")
    return not rest


def _plain(text: str) -> str:
    return unicodedata.normalize("NFKC", text).casefold()


# --- the two back ends -----------------------------------------------------------------------------------------------


def _is_postgresql() -> bool:
    return connection.vendor == "postgresql"


def _key() -> str:
    return "entry_id" if _is_postgresql() else "rowid"


def _matches() -> str:
    return "document @@ %s::tsquery" if _is_postgresql() else "catalogue_search MATCH %s"


def _expression(words: list[str], *, name_only: bool) -> str:
    """Every word as a prefix, joined by AND, in the language of the back end."""
    if _is_postgresql():
        weights = "AB" if name_only else ""
        return " & ".join(f"{_quoted(word)}:*{weights}" for word in words)
    columns = "{name pinyin}" if name_only else "{name pinyin body}"
    return " AND ".join(f'{columns} : "{word}" *' for word in words)


def _quoted(word: str) -> str:
    return "'" + word.replace("\\", "\\\\").replace("'", "''") + "'"


def _vector(document: Document) -> str:
    """A tsvector literal: names weigh A, their pinyin B, the rest D. Positions carry the weight, nothing reads their order."""
    weights: dict[str, str] = {}
    for weight, words in (("A", document.name), ("B", document.pinyin), ("D", document.body)):
        for word in words:
            weights.setdefault(word[:500], weight)
    return " ".join(f"{_quoted(word)}:1{weight}" for word, weight in weights.items())


def _write(documents: list[Document]) -> None:
    if not documents:
        return
    with connection.cursor() as cursor:
        if _is_postgresql():
            cursor.executemany(
                "INSERT INTO catalogue_search (entry_id, document) VALUES (%s, %s::tsvector)"
                " ON CONFLICT (entry_id) DO UPDATE SET document = excluded.document",
                [(document.entry_id, _vector(document)) for document in documents],
            )
        else:
            cursor.executemany(
                "DELETE FROM catalogue_search WHERE rowid = %s", [(document.entry_id,) for document in documents]
            )
            cursor.executemany(
                "INSERT INTO catalogue_search (rowid, name, pinyin, body) VALUES (%s, %s, %s, %s)",
                [(d.entry_id, *(" ".join(part) for part in (d.name, d.pinyin, d.body))) for d in documents],
            )
