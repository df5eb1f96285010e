"""Every action that the code records has words."""

import ast
from pathlib import Path

import jinqiao
from jinqiao.web.audit.words import ACTION_WORDS, action_word, actions_named

SOURCE = Path(jinqiao.__file__).parent


def _recorded():
    """Actions named in calls of `record`, with the file that names them."""
    for file in sorted(SOURCE.rglob("*.py")):
        if file.is_relative_to(SOURCE / "dataplane"):
            continue
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Call) or not node.args:
                continue
            called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            first = node.args[0]
            if called in ("record", "_record") and isinstance(first, ast.Constant):
                yield first.value, str(file.relative_to(SOURCE))


def test_every_action_has_words():
    recorded = list(_recorded())

    assert len(recorded) > 80
    assert [(action, file) for action, file in recorded if action not in ACTION_WORDS] == []


def test_two_actions_do_not_share_words():
    words = [str(word) for word in ACTION_WORDS.values()]

    assert len(words) == len(set(words))


def test_an_action_without_words_is_shown_by_its_code():
    assert action_word("older.thing.do") == "older.thing.do"
    assert "accounts.post.end" in actions_named("结束岗位")
