"""What an action refuses, said at the field it is about; what was not allowed is written down as well."""

from collections.abc import Mapping

from django.forms import BaseForm
from django.http import HttpRequest

from jinqiao.kernel.errors import JinqiaoError, NotAllowed
from jinqiao.web.errors import language, new_number, record_refusal


def explain(
    request: HttpRequest,
    form: BaseForm,
    error: JinqiaoError,
    fields: Mapping[type[JinqiaoError], str] | None = None,
) -> None:
    """Put an error's words on the form: at the field that `fields` names for its class, else above all."""
    if isinstance(error, NotAllowed):
        record_refusal(request, error, new_number())
    text = error.text(language())
    place = next((field for kind, field in (fields or {}).items() if isinstance(error, kind)), None)
    form.add_error(place, " ".join(part for part in (text.message, text.clause, text.mend) if part))
