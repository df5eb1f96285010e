"""What a department's own system calls when its data has arrived: the tasks that wait for that run at once."""

from django.http import HttpRequest, HttpResponse
from ninja import Router

from jinqiao.api.nodes import answer_json
from jinqiao.api.schemas import json_answer, operation
from jinqiao.exchange import actions

router = Router(tags=["arrivals"], auth=None)
_ANSWER = {"type": "object", "required": ["tasks"], "properties": {"tasks": {"type": "integer"}}}


@router.post(
    "{source}",
    url_name="announce_arrival",
    openapi_extra=operation(answer=json_answer(_ANSWER), _200="heard; so many tasks will run"),
)
def announce(request: HttpRequest, source: str) -> HttpResponse:
    """Header `Authorization: Bearer <token>`, the token of this data source. No body; saying it twice is no harm."""
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    tasks = actions.arrive_by_token(source, token.strip() if scheme.lower() == "bearer" else "")
    return answer_json({"tasks": tasks})
