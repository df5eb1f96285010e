"""The desk: what is due, how many working days are left, one click to act."""

from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import reverse
from django.utils.translation import gettext as _

from jinqiao.accounts.enums import Role
from jinqiao.kernel import moments
from jinqiao.web.access import PostHttpRequest, post_required, public
from jinqiao.web.clocks import clause_of
from jinqiao.web.desk import queries
from jinqiao.web.desk.forms import DoneFilter
from jinqiao.web.exports import xlsx_response
from jinqiao.web.navigation import first_page
from jinqiao.web.pagination import page_of
from jinqiao.web.targets import heading_of
from jinqiao.web.todo_titles import title_in_words
from jinqiao.workflow import queries as workflow
from jinqiao.workflow.enums import ClockState

RECENT = 8


@public
def home(request: HttpRequest) -> HttpResponse:
    """The bare address leads to the first page of the post, or to signing in."""
    post = getattr(request, "post", None)
    return HttpResponseRedirect(first_page(post) if post else reverse("login"))


@post_required()
def desk(request: PostHttpRequest) -> HttpResponse:
    post, today = request.post, moments.today()
    todos = list(workflow.desk(post))
    if request.GET.get("export") == "xlsx":
        return xlsx_response(
            _("待办"),
            [_("事项"), _("标题"), _("产生时间"), _("到期日"), _("条款")],
            (
                (
                    str(heading_of(todo.about_type)),
                    title_in_words(todo.title),
                    todo.created_at,
                    todo.clock.due_on if todo.clock else None,
                    clause_of(todo.clock) if todo.clock else "",
                )
                for todo in todos
            ),
        )
    dated = [
        todo.clock for todo in todos if todo.clock and todo.clock.state == ClockState.RUNNING and todo.clock.due_on
    ]
    values = {
        "title": _("待办"),
        "groups": queries.grouped(todos, post, today),
        "total": len(todos),
        "late": sum(1 for clock in dated if clock.due_on and clock.due_on < today),
        "due_today": sum(1 for clock in dated if clock.due_on == today),
        "ruler": queries.ruler(todos, workflow.calendar(), today) if dated else [],
        "done": workflow.handled_by(post)[:RECENT],
        "waiting": queries.waiting_for_others(post),
        "may_search": post.role != Role.COUNTER,
    }
    return render(request, "desk/desk.html", values)


@post_required()
def desk_done(request: PostHttpRequest) -> HttpResponse:
    """What this post has done, all of it."""
    found = workflow.handled_by(request.post)
    text = request.GET.get("q", "").strip()
    if text:
        found = found.filter(title__icontains=text)
    if request.GET.get("export") == "xlsx":
        return xlsx_response(
            _("我经办的"),
            [_("事项"), _("标题"), _("办结时间"), _("到期日")],
            (
                (
                    str(heading_of(todo.about_type)),
                    title_in_words(todo.title),
                    todo.done_at,
                    todo.clock.due_on if todo.clock else None,
                )
                for todo in found.iterator(chunk_size=500)
            ),
        )
    return render(
        request,
        "desk/done.html",
        {"title": _("我经办的"), "page": page_of(request, found), "form": DoneFilter(request.GET)},
    )
