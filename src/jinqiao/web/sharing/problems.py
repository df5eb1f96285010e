"""Errors of the sharing actions, put where the reader can mend them: what is wrong, by which clause, how to mend it."""

from django import forms

from jinqiao.kernel.errors import InvalidInput
from jinqiao.web.errors import language

_FIELDS = {
    "sharing.request.mode_unknown": "mode",
    "sharing.request.period_not_in_order": "use_until",
    "sharing.request.period_over": "use_until",
    "sharing.items.": "items",
    "sharing.request.purpose_missing": "purposes",
    "sharing.request.case_number_needed": "case_number_required",
    "sharing.request.legal_basis_needed": "basis",
    "sharing.decision.validity_beyond_request": "valid_until",
    "sharing.decision.reason_missing": "reason",
    "rules.article.": "article",
    "sharing.papers.not_named": "missing",
    "sharing.extension.too_long": "days",
    "workflow.attachment.": "papers",
}


def words_of(error: InvalidInput) -> str:
    """One paragraph: message, clause, mend."""
    text = error.text(language())
    clause = f"{text.clause}{'. ' if language() == 'en' else '。'}" if text.clause else ""
    gap = " " if language() == "en" else ""
    return gap.join(part for part in (text.message, clause, text.mend) if part)


def put_on(form: forms.Form, error: InvalidInput) -> None:
    """Add the error to the field it is about, else to the form."""
    field = next((name for code, name in _FIELDS.items() if error.code.startswith(code)), None)
    form.add_error(field if field in form.fields else None, words_of(error))
