"""Data sources: the list, one source with its tables, registering, testing, the password."""

import json

from django.contrib import messages
from django.db.models import Q
from django.http import HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404, render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods, require_POST

from jinqiao.exchange import actions, rules
from jinqiao.exchange.connections import OPTIONS
from jinqiao.exchange.enums import CommandState, SourceState
from jinqiao.exchange.errors import ConnectionIncomplete, MoveWouldDouble, OptionUnknown, OptionWrong, SecretInOptions
from jinqiao.exchange.models import Binding, DataSource, SourceLimits
from jinqiao.exchange.queries.visible import sees_all, sources_visible_to
from jinqiao.kernel.contracts.tables import Engine
from jinqiao.kernel.errors import JinqiaoError
from jinqiao.web import formats
from jinqiao.web.access import PostHttpRequest, post_required
from jinqiao.web.accounts.refusals import explain
from jinqiao.web.components import Pair
from jinqiao.web.exchange.forms import SourceFilter
from jinqiao.web.exchange.roles import SEERS, WORKERS
from jinqiao.web.exchange.run_view import problem_text
from jinqiao.web.exchange.slot_view import slots_of
from jinqiao.web.exchange.source_forms import EngineForm, PasswordForm, SourceChangeForm, SourceForm
from jinqiao.web.exchange.words import protection_words
from jinqiao.web.exports import xlsx_response
from jinqiao.web.pagination import page_of


@post_required(*SEERS)
def sources(request: PostHttpRequest) -> HttpResponse:
    form = SourceFilter(request.GET, sees_all=sees_all(request.post))
    form.is_valid()
    found = sources_visible_to(request.post)
    text, engine, state = (form.cleaned_data.get(name, "").strip() for name in ("q", "engine", "state"))
    if text:
        found = found.filter(Q(name__icontains=text) | Q(number__icontains=text))
    if engine:
        found = found.filter(engine=engine)
    if state:
        found = found.filter(state=state)
    if organisation := form.cleaned_data.get("organisation"):
        found = found.filter(organisation=organisation)
    if request.GET.get("export") == "xlsx":
        return xlsx_response(
            _("数据源"),
            [
                _("数据源标识"),
                _("名称"),
                _("机构"),
                _("节点"),
                _("类型"),
                _("状态"),
                _("表数"),
                _("可作为交付目标"),
                _("测试时间"),
            ],
            (
                (
                    source.number,
                    source.name,
                    source.organisation.name,
                    source.node.name,
                    source.get_engine_display(),
                    source.get_state_display(),
                    source.table_count,
                    _("是") if source.is_writable else _("否"),
                    source.tested_at,
                )
                for source in found.iterator(chunk_size=500)
            ),
        )
    values = {
        "title": _("数据源"),
        "form": form,
        "page": page_of(request, found),
        "may_add": rules.may(rules.check_may_manage_sources, request.post, request.post.organisation_id),
    }
    return render(request, "exchange/sources.html", values)


def _waiting(source: DataSource) -> bool:
    return source.commands.filter(state__in=(CommandState.WAITING, CommandState.TAKEN)).exists()


@post_required(*SEERS)
def source(request: PostHttpRequest, pk: int) -> HttpResponse:
    """One source; while its node is at work the live part asks again every two seconds."""
    found = get_object_or_404(sources_visible_to(request.post), pk=pk)
    values = {
        "title": found.name,
        "source": found,
        "is_waiting": _waiting(found),
        "problem": problem_text(found.state_note),
        "server_version": found.state_note.get("server_version", ""),
        "page": page_of(request, found.tables.order_by("name")),
    }
    if getattr(request, "htmx", False):
        return render(request, "exchange/_source_live.html", values)
    values["pairs"] = [
        Pair(_("数据源标识"), found.number, code=True),
        Pair(_("机构"), found.organisation.name),
        Pair(_("节点"), found.node.name, url=reverse("exchange:node", args=[found.node_id])),
        Pair(_("类型"), found.get_engine_display()),
        Pair(_("主机"), f"{found.host}:{found.port}" if found.host else "", code=True),
        Pair(_("数据库"), found.database, code=True),
        Pair(_("账号"), found.user, code=True),
        Pair(_("口令"), _("已密封给节点") if found.sealed_password else _("不需要")),
        Pair(
            _("口令（网关）"),
            _("已密封给%(name)s") % {"name": found.sealed_for_gateway.name}
            if found.gateway_sealed_password and found.sealed_for_gateway
            else "",
        ),
        Pair(_("可作为交付目标"), _("是") if found.is_writable else _("否")),
        Pair(_("登记时间"), formats.moment(found.created_at)),
    ]
    values["pairs"] += _option_pairs(found)
    values["protection"] = protection_words(SourceLimits.objects.filter(source=found).first())
    values["slots"] = slots_of(found)
    values["bindings"] = Binding.objects.filter(source=found).select_related("entry__live_version").order_by("table")
    values["may_manage"] = found.state != SourceState.RETIRED and rules.may(
        rules.check_may_manage_source, request.post, found
    )
    return render(request, "exchange/source.html", values)


def _option_pairs(source: DataSource) -> list[Pair]:
    """The options that are set, by their labels."""
    labels = {option.name: option.label for option in OPTIONS[Engine(source.engine)]}
    return [
        Pair(
            labels.get(name, name),
            json.dumps(value, ensure_ascii=False) if isinstance(value, dict) else str(value),
            wide=isinstance(value, dict),
            code=True,
        )
        for name, value in source.options.items()
    ]


def _kind(asked: str) -> Engine:
    return Engine(asked) if asked in list(Engine) else Engine.POSTGRESQL


def _at_field(form: SourceForm, error: JinqiaoError) -> dict[type[JinqiaoError], str]:
    """Options are named by the error that refuses them."""
    option = str(error.details.get("option", ""))
    for name in (f"o-{option}", f"h-{option}"):
        if name in form.fields:
            return {OptionWrong: name, OptionUnknown: name}
    asked: dict[type[JinqiaoError], str] = {MoveWouldDouble: "moved"} if "moved" in form.fields else {}
    return {ConnectionIncomplete: "database", SecretInOptions: "database", **asked}


@sensitive_post_parameters("password")
@post_required(*WORKERS)
@require_http_methods(["GET", "POST"])
def source_new(request: PostHttpRequest) -> HttpResponse:
    """`?engine=…` chooses the kind; the form then asks what that kind needs."""
    rules.check_may_manage_sources(request.post, request.post.organisation_id)
    kind = _kind(request.POST.get("engine") or request.GET.get("engine", ""))
    form = SourceForm(request.post, kind, request.POST or None)
    if request.method == "POST" and form.is_valid():
        try:
            made = actions.add_data_source(by=request.post, **form.wanted())
        except JinqiaoError as error:
            explain(request, form, error, _at_field(form, error))
        else:
            messages.success(request, _("已登记，节点正在测试连接。"))
            return HttpResponseRedirect(reverse("exchange:source", args=[made.pk]))
    values = {
        "title": _("登记数据源"),
        "chooser": EngineForm(initial={"engine": kind.value}),
        "form": form,
        "action": _("登记并测试"),
        "back": reverse("exchange:sources"),
    }
    return render(request, "exchange/source_form.html", values)


@post_required(*WORKERS)
@require_http_methods(["GET", "POST"])
def source_change(request: PostHttpRequest, pk: int) -> HttpResponse:
    found = get_object_or_404(sources_visible_to(request.post), pk=pk)
    rules.check_may_manage_source(request.post, found)
    form = SourceChangeForm(found, request.post, request.POST or None, initial=SourceChangeForm.values_of(found))
    back = reverse("exchange:source", args=[pk])
    if request.method == "POST" and form.is_valid():
        try:
            actions.change_data_source(found, by=request.post, **form.wanted())
        except JinqiaoError as error:
            explain(request, form, error, _at_field(form, error))
        else:
            messages.success(request, _("已修改，节点正在测试连接。"))
            if form.begins_anew:
                messages.info(request, _("任务下次运行从头读取，合并到已有数据。"))
            return HttpResponseRedirect(back)
    values = {
        "title": _("修改数据源"),
        "form": form,
        "held_label": _("类型"),
        "held_value": found.get_engine_display(),
        "action": _("保存并测试"),
        "back": back,
    }
    return render(request, "exchange/source_form.html", values)


@post_required(*WORKERS)
@require_POST
def source_test(request: PostHttpRequest, pk: int) -> HttpResponse:
    found = get_object_or_404(sources_visible_to(request.post), pk=pk)
    actions.test_connection(found, by=request.post)
    messages.info(request, _("已通知节点测试连接。"))
    return HttpResponseRedirect(reverse("exchange:source", args=[pk]))


@post_required(*WORKERS)
@require_POST
def source_tables(request: PostHttpRequest, pk: int) -> HttpResponse:
    found = get_object_or_404(sources_visible_to(request.post), pk=pk)
    actions.list_tables(found, by=request.post)
    messages.info(request, _("已通知节点读取表结构。"))
    return HttpResponseRedirect(reverse("exchange:source", args=[pk]))


@sensitive_post_parameters("password")
@post_required(*WORKERS)
@require_http_methods(["GET", "POST"])
def source_password(request: PostHttpRequest, pk: int) -> HttpResponse:
    found = get_object_or_404(sources_visible_to(request.post), pk=pk)
    rules.check_may_manage_source(request.post, found)
    form = PasswordForm(request.POST or None)
    back = reverse("exchange:source", args=[pk])
    if request.method == "POST" and form.is_valid():
        actions.change_password(found, by=request.post, password=form.cleaned_data["password"])
        messages.success(request, _("口令已重新密封，节点正在测试连接。"))
        return HttpResponseRedirect(back)
    values = {
        "title": _("更换口令"),
        "form": form,
        "held_label": _("数据源"),
        "held_value": found.name,
        "action": _("更换口令"),
        "back": back,
    }
    return render(request, "exchange/form.html", values)
