"""Errors of the catalogue's actions, put where the reader can mend them: what is wrong, by which clause, how to mend it."""

from collections.abc import Sequence

from django import forms

from jinqiao.catalogue.errors import Findings
from jinqiao.kernel.errors import InvalidInput
from jinqiao.web.errors import language


def words_of(error: InvalidInput) -> str:
    """One paragraph: message, clause, mend."""
    text = error.text(language())
    clause = f"{text.clause}{'. ' if language() == 'en' else '。'}" if text.clause else ""
    gap = " " if language() == "en" else ""
    return gap.join(part for part in (text.message, clause, text.mend) if part)


def put_on(form: forms.Form, error: InvalidInput, items: Sequence[forms.Form] = ()) -> None:
    """Add an error, or each finding of several, to the field it is about; `items` are the forms of the data items in order."""
    for finding in error.findings if isinstance(error, Findings) else (error,):
        place = finding.details.get("item")
        target = items[place - 1] if place and place <= len(items) else form
        field = str(finding.details.get("field", ""))
        target.add_error(field if field in target.fields else None, words_of(finding))
