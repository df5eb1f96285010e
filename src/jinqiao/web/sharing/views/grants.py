"""Grants: the list, the record, and what may be done with one: suspend, resume, end, replace by narrower terms."""

from collections.abc import Callable, Iterator
from typing import Any

from django.contrib import messages
from django.db.models import Count, Max
from django.http import HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import pgettext
from django.views.decorators.http import require_POST

from jinqiao.accounts.enums import Role
from jinqiao.exchange.models import Call, ExchangeTask, QueryService, Run
from jinqiao.kernel.errors import InvalidInput
from jinqiao.sharing import actions, queries, rules, terms
from jinqiao.sharing.enums import ChangeState
from jinqiao.sharing.errors import ChangeNotPending
from jinqiao.sharing.models import Grant, GrantChange
from jinqiao.web import formats
from jinqiao.web.access import PostHttpRequest, post_required
from jinqiao.web.components import Crumb, Figure, Pair
from jinqiao.web.exports import xlsx_response
from jinqiao.web.navigation import url_of
from jinqiao.web.pagination import page_of
from jinqiao.web.sharing import conditions, record
from jinqiao.web.sharing.forms import MASKS, ChangeForm, GrantFilter, OpinionForm, ReasonForm
from jinqiao.web.sharing.lists import filtered, of_side, side_of, side_tabs
from jinqiao.web.sharing.problems import put_on
from jinqiao.web.sharing.roles import STAFF_ROLES, VIEWERS
from jinqiao.workflow import queries as workflow


@post_required(*VIEWERS)
def grant_list(request: PostHttpRequest) -> HttpResponse:
    visible = queries.grants_visible_to(request.post)
    side = side_of(request, request.post)
    form = GrantFilter(request.GET)
    rows = filtered(of_side(visible, side, request.post), form.cleaned_data if form.is_valid() else {})
    if request.GET.get("export") == "xlsx":
        return xlsx_response(
            _("授权"),
            [
                _("授权编号"), _("目录条目"), _("信息资源代码"), _("需求部门"), _("提供部门"), _("共享方式"), _("数据项数"),
                _("有效期起"), _("有效期止"), _("状态"), _("状态原因"), _("首次供给时间"), _("内容摘要"),
            ],
            _exported(rows),
        )  # fmt: skip
    return render(
        request,
        "sharing/grants.html",
        {
            "title": _("授权与使用"),
            "tabs": side_tabs(visible, "sharing:grants", side, request.post, (_("我方持有"), _("我方提供"))),
            "form": form,
            "side": side,
            "page": page_of(request, rows),
        },
    )


def _exported(rows: Any) -> Iterator[tuple[Any, ...]]:
    for grant in rows.iterator(chunk_size=500):
        yield (
            grant.number,
            grant.version.name,
            grant.entry.code,
            grant.consumer.name,
            grant.provider.name,
            grant.get_mode_display(),
            len(grant.items),
            grant.valid_from,
            grant.valid_until,
            grant.get_state_display(),
            grant.state_reason,
            grant.provided_at,
            grant.digest,
        )


@post_required(*VIEWERS)
def grant_page(request: PostHttpRequest, pk: int) -> HttpResponse:
    return page_response(request, queries.grant_visible_to(request.post, pk))


def page_response(request: PostHttpRequest, grant: Grant, **changed: Any) -> HttpResponse:
    """The record of a grant with what this post may do. `changed` replaces a form that came back with errors."""
    post = request.post
    names = {item.code: item.name for item in terms.items_of(grant.version).values()}
    change = None
    if record.sees_inside(post, grant.provider_id):
        change = (
            GrantChange.objects.select_related("drafted_by__person")
            .filter(grant=grant, state=ChangeState.PENDING)
            .first()
        )
    about = queries.about_grant(grant)
    may_approve_change = change is not None and rules.allows(lambda: rules.check_may_approve_change(change, post))
    values = {
        "title": _("%(consumer)s使用“%(entry)s”的授权")
        % {"consumer": grant.consumer.short_name, "entry": grant.version.name},
        "crumb": grant.number,
        "grant": grant,
        "pairs": _pairs(grant),
        "items": record.granted_rows(grant),
        "conditions": conditions.described(grant.row_filter, names),
        "is_unaltered": queries.is_unaltered(grant),
        "successor": Grant.objects.filter(replaces=grant).first(),
        "carrier": _carrier(grant),
        "figures": _use(grant),
        "clock": workflow.running_clock(about, "grant.provision"),
        "events": record.grant_timeline(grant, post),
        "change": change,
        "change_items": _changed_items(change) if change else [],
        "change_conditions": conditions.described(change.row_filter, names) if change else [],
        "may_suspend": rules.allows(lambda: rules.check_may_suspend(grant, post)),
        "may_resume": rules.allows(lambda: rules.check_may_resume(grant, post)),
        "may_revoke": rules.allows(lambda: rules.check_may_revoke(grant, post)),
        "may_change": change is None and rules.allows(lambda: rules.check_may_propose_change(grant, post)),
        "may_approve_change": may_approve_change,
        "may_note_filing": _may_note_filing(grant, request),
        "form": OpinionForm() if may_approve_change else None,
        **changed,
    }
    return render(request, "sharing/grant.html", values, status=400 if changed else 200)


def _pairs(grant: Grant) -> list[Pair]:
    return [
        Pair(_("需求部门"), grant.consumer.name, hint=grant.consumer.credit_code),
        Pair(_("提供部门"), grant.provider.name, hint=grant.provider.credit_code),
        Pair(
            _("目录条目"),
            grant.version.name,
            hint=grant.entry.code or "",
            url=url_of("catalogue:entry", grant.entry_id),
            wide=True,
        ),
        Pair(_("申请"), grant.request.number, url=reverse("sharing:request", args=[grant.request_id])),
        Pair(_("共享方式"), grant.get_mode_display()),
        Pair(
            _("有效期"),
            _("%(first)s至%(last)s")
            % {"first": formats.full_day(grant.valid_from), "last": formats.full_day(grant.valid_until)},
        ),
        Pair(_("业务编号"), _("每次查询必须填写") if grant.case_number_required else _("不要求")),
        Pair(_("用途"), "、".join(grant.purposes), wide=True),
    ]


def _carrier(grant: Grant) -> Pair | None:
    """The exchange task or query service that carries the grant out."""
    task = ExchangeTask.objects.filter(grant=grant).first()
    if task is not None:
        return Pair(pgettext("one", "交换任务"), task.number, url=url_of("exchange:task", task.pk))
    service = QueryService.objects.filter(grant=grant).first()
    if service is not None:
        return Pair(pgettext("one", "查询服务"), service.number, url=url_of("exchange:service", service.pk))
    return None


def _use(grant: Grant) -> list[Figure]:
    """What was moved or asked under the grant: calls of its service, or runs of its task."""
    figures = []
    if grant.mode == "interface":
        calls = Call.objects.filter(grant_number=grant.number).aggregate(count=Count("pk"), last=Max("at"))
        url = url_of("exchange:calls")
        figures.append(
            Figure(
                formats.number(calls["count"]),
                _("查询调用"),
                unit=_("次"),
                note=formats.ago(calls["last"]) if calls["last"] else _("尚未调用"),
                url=f"{url}?q={grant.number}" if url else "",
            )
        )
    else:
        runs = Run.objects.filter(task__grant=grant).aggregate(count=Count("pk"), last=Max("finished_at"))
        figures.append(
            Figure(
                formats.number(runs["count"]),
                _("交换运行"),
                unit=_("次"),
                note=formats.ago(runs["last"]) if runs["last"] else _("尚未运行"),
            )
        )
    figures.append(Figure(len(grant.items), _("数据项"), unit=_("项")))
    masked = sum(1 for item in grant.items if item["mask"] != "none")
    figures.append(Figure(masked, _("遮蔽"), unit=_("项")))
    return figures


def _changed_items(change: GrantChange) -> list[dict[str, Any]]:
    """Each granted item with what the proposal makes of it."""
    return [
        {
            **item,
            "kept": item["code"] in change.items,
            "mask_words": MASKS[change.masks.get(item["code"], item["mask"])],
        }
        for item in change.grant.items
    ]


def _may_note_filing(grant: Grant, request: PostHttpRequest) -> bool:
    if request.post.role != Role.BUREAU:
        return False
    waiting = workflow.open_todos(queries.about_grant(grant)).filter(kind="sharing.grant.filing")
    return waiting.filter(organisation=request.post.organisation).exists()


def _confirmed(
    request: PostHttpRequest,
    pk: int,
    check: Callable[..., None],
    act: Callable[..., Grant],
    *,
    title: str,
    what_stays: list[str],
    action: str,
    done: str,
    back_label: str,
    danger: bool = True,
) -> HttpResponse:
    """Ask for a reason, then act."""
    grant = queries.grant_visible_to(request.post, pk)
    check(grant, request.post)
    back = reverse("sharing:grant", args=[pk])
    form = ReasonForm(request.POST if request.method == "POST" else None)
    if request.method == "POST" and form.is_valid():
        act(grant, by=request.post, reason=form.cleaned_data["reason"])
        messages.success(request, done)
        return HttpResponseRedirect(back)
    return render(
        request,
        "components/confirm.html",
        {
            "title": title % {"number": grant.number},
            "crumbs": [Crumb(grant.number, back)],
            "what_stays": what_stays,
            "form": form,
            "action": action,
            "danger": danger,
            "back": back,
            "back_label": back_label,
        },
        status=400 if form.errors else 200,
    )


_MAY_KEEP = (Role.HEAD, Role.DEPARTMENT_ADMINISTRATOR, Role.BUREAU)


@post_required(*_MAY_KEEP)
def suspend(request: PostHttpRequest, pk: int) -> HttpResponse:
    return _confirmed(
        request,
        pk,
        rules.check_may_suspend,
        actions.suspend_grant,
        title=_("暂停授权 %(number)s？"),
        what_stays=[
            _("查询和交换随即停止；已交付的数据仍在对方，按条例第二十七条处置。"),
            _("对方和主管部门会看到理由；改正后可以恢复。"),
        ],
        action=_("暂停授权"),
        done=_("授权已暂停，查询和交换随即停止。"),
        back_label=_("不暂停"),
    )


@post_required(*_MAY_KEEP)
def resume(request: PostHttpRequest, pk: int) -> HttpResponse:
    return _confirmed(
        request,
        pk,
        rules.check_may_resume,
        actions.resume_grant,
        title=_("恢复授权 %(number)s？"),
        what_stays=[_("按原授权内容恢复查询和交换，内容不变。")],
        action=_("恢复授权"),
        done=_("授权已恢复。"),
        back_label=_("不恢复"),
        danger=False,
    )


@post_required(Role.HEAD, Role.BUREAU)
def revoke(request: PostHttpRequest, pk: int) -> HttpResponse:
    return _confirmed(
        request,
        pk,
        rules.check_may_revoke,
        actions.revoke_grant,
        title=_("撤销授权 %(number)s？"),
        what_stays=[
            _("撤销后不能恢复，还需要时另行申请。"),
            _("授权内容、使用记录和回执都留存；对方按条例第二十七条处置已得数据。"),
        ],
        action=_("撤销授权"),
        done=_("授权已撤销。"),
        back_label=_("不撤销"),
    )


@require_POST
@post_required(Role.BUREAU)
def note_filing(request: PostHttpRequest, pk: int) -> HttpResponse:
    """The authority takes note of a suspension or an end."""
    actions.note_filing(queries.grant_visible_to(request.post, pk), by=request.post)
    messages.success(request, _("已备案。"))
    return HttpResponseRedirect(reverse("sharing:grant", args=[pk]))


@post_required(*STAFF_ROLES)
def propose_change(request: PostHttpRequest, pk: int) -> HttpResponse:
    """Draft narrower terms; the running grant goes on until the head has approved them."""
    grant = queries.grant_visible_to(request.post, pk)
    rules.check_may_propose_change(grant, request.post)
    known = terms.items_of(grant.version)
    initial = {"items": [item["code"] for item in grant.items], "valid_until": grant.valid_until}
    form = ChangeForm(request.POST or None, granted=grant.items, initial=initial)
    lines = conditions.condition_forms(known, request.POST if request.method == "POST" else None)
    if request.method == "POST" and form.is_valid() and lines.is_valid():
        try:
            actions.propose_change(
                grant,
                by=request.post,
                reason=form.cleaned_data["reason"],
                items=form.cleaned_data["items"],
                masks=form.masks(),
                row_filter=conditions.conditions_of(lines),
                valid_until=form.cleaned_data["valid_until"],
            )
        except InvalidInput as error:
            put_on(form, error)
        else:
            messages.success(request, _("变更已拟好，待本部门负责人审批；批准前原授权继续使用。"))
            return HttpResponseRedirect(reverse("sharing:grant", args=[pk]))
    chosen = form["items"].value() or []
    return render(
        request,
        "sharing/grant_change.html",
        {
            "title": _("缩小授权 %(number)s") % {"number": grant.number},
            "crumbs": [Crumb(grant.number, reverse("sharing:grant", args=[pk]))],
            "grant": grant,
            "form": form,
            "lines": lines,
            "conditions": conditions.described(grant.row_filter, {code: item.name for code, item in known.items()}),
            "options": [
                {
                    "item": item,
                    "is_chosen": item["code"] in chosen,
                    "mask": form[form.mask_names[item["code"]]] if item["code"] in form.mask_names else None,
                }
                for item in grant.items
            ],
        },
        status=400 if form.errors else 200,
    )


@require_POST
@post_required(Role.HEAD)
def approve_change(request: PostHttpRequest, pk: int) -> HttpResponse:
    grant = queries.grant_visible_to(request.post, pk)
    change = GrantChange.objects.filter(grant=grant, state=ChangeState.PENDING).first()
    if change is None:
        raise ChangeNotPending(number=grant.number)
    form = OpinionForm(request.POST)
    if form.is_valid():
        approved = request.POST.get("approved") == "yes"
        try:
            made = actions.approve_change(
                change, by=request.post, approved=approved, opinion=form.cleaned_data["opinion"]
            )
        except InvalidInput as error:
            put_on(form, error)
        else:
            messages.success(
                request,
                _("新授权%(number)s生效，原授权停止。") % {"number": made.number}
                if made
                else _("变更未批准，原授权不变。"),
            )
            return HttpResponseRedirect(reverse("sharing:grant", args=[made.pk if made else pk]))
    return page_response(request, grant, form=form)
