"""What `jinqiao call` prints: rows for people, JSON for programs, refusals with what to do."""

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TextIO

from jinqiao.dataplane.client import Answer, BatchAnswer, Counted, Page, Refused, Verification
from jinqiao.kernel.errors import JinqiaoError, Language


@dataclass(frozen=True, slots=True)
class Rows:
    """A list that is still to be read, page by page; `most` rows of it, 0: all."""

    items: tuple[str, ...]
    pages: Iterator[Page]
    most: int


def tell(answer: Any, *, as_json: bool, language: Language) -> None:
    """Print whatever was answered. Reading the pages of a list raises what the client raises."""
    if isinstance(answer, Rows):
        _tell_list(answer, as_json=as_json, language=language)
    elif as_json or isinstance(answer, Mapping):
        _print_json(_plain(answer))
    elif isinstance(answer, Answer):
        _tell_rows(answer.items, answer.rows)
        more = ("（还有更多）" if language == "zh" else " (there are more)") if answer.truncated else ""
        _tell_end(answer.count, f"{more} · {answer.call_id}", language)
    elif isinstance(answer, BatchAnswer):
        for number, found in enumerate(answer.results, 1):
            _print(f"[{number}]")
            _tell_rows(answer.items, found.rows)
        _tell_end(answer.count, f" · {answer.call_id}", language)
    elif isinstance(answer, Verification):
        _print(answer.result)
        for code, agrees in (answer.agrees or {}).items():
            _print(f"{code}: {'yes' if agrees else 'no'}")
    elif isinstance(answer, Counted):
        fewer = f"少于{answer.fewer_than}" if language == "zh" else f"fewer than {answer.fewer_than}"
        _print(fewer if answer.count is None else str(answer.count))


def _plain(answer: Any) -> Any:
    """As JSON; the bytes of the answer are told by what is read of them."""
    match answer:
        case Answer():
            names: tuple[str, ...] = ("call_id", "items", "rows", "count", "truncated", "salt")
        case BatchAnswer():
            results = [{"rows": f.rows, "count": f.count, "truncated": f.truncated} for f in answer.results]
            names = ("call_id", "items", "count", "salt")
            return {name: getattr(answer, name) for name in names} | {"results": results}
        case Verification():
            names = ("call_id", "result", "agrees", "salt")
        case Counted():
            names = ("call_id", "count", "fewer_than", "salt")
        case _:
            return answer
    return {name: getattr(answer, name) for name in names}


def _tell_list(listed: Rows, *, as_json: bool, language: Language) -> None:
    count, calls = 0, []
    shown: list[Mapping[str, Any]] = []
    for page in listed.pages:
        rows = page.rows[: listed.most - count] if listed.most else page.rows
        calls.append(page.call_id)
        if as_json:
            shown += rows
        else:
            if count and rows:
                _print("")
            _tell_rows(listed.items, rows)
        count += len(rows)
        if listed.most and count >= listed.most:
            break
    if as_json:
        _print_json({"calls": calls, "items": listed.items, "rows": shown, "count": count})
    else:
        _tell_end(count, f" · {' '.join(calls)}", language)


def _tell_rows(items: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> None:
    for number, row in enumerate(rows, 1):
        if number > 1:
            _print("")
        for code in items:
            _print(f"{code}: {_shown(row.get(code))}")


def _tell_end(count: int, more: str, language: Language) -> None:
    word = f"共 {count} 条" if language == "zh" else f"{count} rows"
    _print(f"{word}{more}", sys.stderr)


def tell_refusal(refusal: Refused, language: Language, *, as_json: bool) -> None:
    if as_json:
        _print_json(
            {
                "code": refusal.refusal,
                "status": refusal.status,
                "message": refusal.message,
                "mend": refusal.mend,
                "call_id": refusal.call_id,
                "retry_after_s": refusal.retry_after_s,
            }
        )
        return
    _tell(refusal.refusal, refusal.message, refusal.mend, language)
    if refusal.call_id:
        _print(f"{'调用编号' if language == 'zh' else 'call'}: {refusal.call_id}", sys.stderr)


def tell_problem(problem: JinqiaoError, language: Language, *, as_json: bool) -> None:
    text = problem.text(language)
    if as_json:
        _print_json({"code": problem.code, "message": text.message, "mend": text.mend})
        return
    _tell(problem.code, text.message, text.mend, language)


def _tell(code: str, message: str, mend: str, language: Language) -> None:
    _print(f"{message} [{code}]", sys.stderr)
    if mend:
        _print(f"{'怎么办' if language == 'zh' else 'What to do'}: {mend}", sys.stderr)


def _shown(value: Any) -> str:
    return "" if value is None else str(value)


def _print_json(value: Any) -> None:
    _print(json.dumps(value, ensure_ascii=False, indent=2))


def _print(line: str, stream: TextIO | None = None) -> None:
    (stream or sys.stdout).write(line + "\n")
