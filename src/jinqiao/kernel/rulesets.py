"""Rule sets as data: which statutory clocks run, which articles a refusal may cite, what publication needs.

A set is chosen by the date of the event and kept by name on the case. A region's overlay may only tighten it: fewer days,
shorter extensions, more clocks, longer retention. `rules-2025+gaoping-2024` names a set with its overlay.
"""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import date
from functools import cache
from importlib.resources import files
from pathlib import Path
from types import MappingProxyType
from typing import Any

from jinqiao.kernel.errors import InvalidInput, NotFound


class RuleSetUnknown(NotFound):
    """There is no rule set of that name, or none in force on that date."""

    code = "rules.set.unknown"


class ClockNotRegulated(NotFound):
    """The rule set has no such clock."""

    code = "rules.clock.not_regulated"


class ArticleUnknown(InvalidInput):
    """The rule set has no such article to cite."""

    code = "rules.article.unknown"


class OverlayLoosens(InvalidInput):
    """A local overlay would give more time or keep less than the rule set: it may only tighten."""

    code = "rules.overlay.loosens"


class OverlayBroken(InvalidInput):
    """A local overlay lacks something or names what is not there."""

    code = "rules.overlay.broken"


@dataclass(frozen=True, slots=True)
class ClockRule:
    """How long one duty may take, in working days; the day of the start is not counted.

    `extension_consent` names whose consent an extension needs (`authority`), empty where none is possible or none is
    needed; `extension_notice`: the other side must be told. `statutory` is False for a term that the platform sets itself.
    """

    key: str
    title: str
    working_days: int
    extension_days: int = 0
    extension_consent: str = ""
    clause: str = ""
    clause_en: str = ""
    may_pause: bool = False
    title_en: str = ""
    extension_notice: bool = False
    statutory: bool = True


@dataclass(frozen=True, slots=True)
class Article:
    """A clause that a refusal may cite, and what it says in short."""

    key: str
    title: str
    title_en: str
    clause: str
    clause_en: str


@dataclass(frozen=True, slots=True)
class RuleSet:
    name: str
    title: str
    title_en: str
    since: date
    clocks: Mapping[str, ClockRule]
    articles: Mapping[str, Article]
    publication: frozenset[str] = frozenset()
    retention_years: Mapping[str, int] = field(default_factory=dict)

    def clock(self, key: str) -> ClockRule:
        """Raises ClockNotRegulated; ask `key in rule_set.clocks` where a set may do without it."""
        rule = self.clocks.get(key)
        if rule is None:
            raise ClockNotRegulated(clock=key, rule_set=self.name)
        return rule

    def article(self, key: str) -> Article:
        article = self.articles.get(key)
        if article is None:
            raise ArticleUnknown(article=key, rule_set=self.name)
        return article

    def overlaid(self, overlay: Mapping[str, Any]) -> "RuleSet":
        """This set tightened by an overlay (the TOML of one). Raises OverlayLoosens, OverlayBroken."""
        name = str(overlay.get("name", ""))
        if not name or self.name not in overlay.get("on", ()):
            raise OverlayBroken(overlay=name, where="name, on")
        clocks = dict(self.clocks)
        for key, changes in overlay.get("clocks", {}).items():
            clocks[key] = _tightened(name, clocks.get(key), key, changes)
        retention = dict(self.retention_years)
        for kind, years in overlay.get("retention_years", {}).items():
            if not isinstance(years, int) or years < retention.get(kind, 0):
                raise OverlayLoosens(overlay=name, what=kind)
            retention[kind] = years
        return replace(
            self,
            name=f"{self.name}+{name}",
            clocks=MappingProxyType(clocks),
            publication=self.publication | frozenset(overlay.get("publication", ())),
            retention_years=MappingProxyType(retention),
        )


_CLOCK_FIELDS = set(ClockRule.__dataclass_fields__) - {"key"}


def _clock(key: str, data: Mapping[str, Any], where: str) -> ClockRule:
    unknown = set(data) - _CLOCK_FIELDS
    days = data.get("working_days")
    if unknown or not data.get("title") or isinstance(days, bool) or not isinstance(days, int) or days < 1:
        raise OverlayBroken(overlay=where, where=key)
    return ClockRule(key=key, **data)


def _tightened(overlay: str, rule: ClockRule | None, key: str, changes: Mapping[str, Any]) -> ClockRule:
    if rule is None:
        return _clock(key, changes, overlay)
    if set(changes) - _CLOCK_FIELDS:
        raise OverlayBroken(overlay=overlay, where=key)
    for name in ("working_days", "extension_days"):
        value = changes.get(name, getattr(rule, name))
        if isinstance(value, bool) or not isinstance(value, int) or value < (1 if name == "working_days" else 0):
            raise OverlayBroken(overlay=overlay, where=f"{key}.{name}")
        if value > getattr(rule, name):
            raise OverlayLoosens(overlay=overlay, what=f"{key}.{name}")
    drops_consent = (
        rule.extension_consent and changes.get("extension_consent", rule.extension_consent) != rule.extension_consent
    )
    drops_notice = rule.extension_notice and not changes.get("extension_notice", True)
    adds_pause = changes.get("may_pause", False) and not rule.may_pause
    drops_clause = rule.statutory and not changes.get("statutory", True)
    if drops_consent or drops_notice or adds_pause or drops_clause:
        raise OverlayLoosens(overlay=overlay, what=key)
    return replace(rule, **changes)


def _rule_set(data: Mapping[str, Any]) -> RuleSet:
    name = data["name"]
    return RuleSet(
        name=name,
        title=data["title"],
        title_en=data["title_en"],
        since=data["since"],
        clocks=MappingProxyType({key: _clock(key, value, name) for key, value in data["clocks"].items()}),
        articles=MappingProxyType({key: Article(key=key, **value) for key, value in data["articles"].items()}),
        publication=frozenset(data["publication"]),
        retention_years=MappingProxyType(dict(data["retention_years"])),
    )


_FOLDER = files("jinqiao.kernel") / "rules"
_registered: dict[str, Mapping[str, Any]] = {}


@cache
def _own() -> Mapping[str, RuleSet]:
    texts = [file.read_text(encoding="utf-8") for file in _FOLDER.iterdir() if file.name.endswith(".toml")]
    sets = sorted((_rule_set(tomllib.loads(text)) for text in texts), key=lambda rule_set: rule_set.since)
    return {rule_set.name: rule_set for rule_set in sets}


def rule_sets() -> tuple[RuleSet, ...]:
    """All sets of the package without overlays, the oldest first."""
    return tuple(_own().values())


def register_overlay(file: Path) -> str:
    """Make a region's own overlay file known to `ruleset`; checked against every set it applies to. Returns its name."""
    try:
        overlay = tomllib.loads(file.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as problem:
        raise OverlayBroken(overlay=file.name, where="TOML") from problem
    for base in overlay.get("on", ()):
        ruleset(base).overlaid(overlay)
    if not overlay.get("on"):
        raise OverlayBroken(overlay=file.name, where="on")
    _registered[overlay["name"]] = overlay
    ruleset.cache_clear()
    return str(overlay["name"])


def _overlay(name: str) -> Mapping[str, Any]:
    if name in _registered:
        return _registered[name]
    for file in (_FOLDER / "overlays").iterdir():
        if file.name == f"{name}.toml":
            return tomllib.loads(file.read_text(encoding="utf-8"))
    raise RuleSetUnknown(name=name)


@cache
def ruleset(name: str) -> RuleSet:
    """The set of that name, e.g. `rules-2025` or `rules-2025+gaoping-2024`. Raises RuleSetUnknown."""
    base, _, overlay = name.partition("+")
    found = _own().get(base)
    if found is None:
        raise RuleSetUnknown(name=name)
    return found.overlaid(_overlay(overlay)) if overlay else found


def ruleset_for(on: date, overlay: str = "") -> RuleSet:
    """The set in force on a local date, tightened by the region's overlay where it applies. Raises RuleSetUnknown."""
    in_force = [rule_set for rule_set in rule_sets() if rule_set.since <= on]
    if not in_force:
        raise RuleSetUnknown(name=on.isoformat())
    found = in_force[-1]
    if overlay and found.name in _overlay(overlay).get("on", ()):
        return ruleset(f"{found.name}+{overlay}")
    return found
