"""Random justification: periods with their seeds, drawn calls, the consumer's answer, the judgement."""

from typing import cast

from django.contrib import messages
from django.http import FileResponse, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404, render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods, require_POST

from jinqiao.audit import trail
from jinqiao.exchange import actions, oversight_errors, rules
from jinqiao.exchange.enums import SampleState
from jinqiao.exchange.models import SampledCall
from jinqiao.exchange.queries.calls import proof_of
from jinqiao.exchange.queries.samples import (
    clocks_by_sample,
    periods_visible_to,
    samples_found,
    samples_visible_to,
)
from jinqiao.kernel.errors import JinqiaoError, NotFound
from jinqiao.web import formats
from jinqiao.web.access import PostHttpRequest, post_required
from jinqiao.web.accounts.refusals import explain
from jinqiao.web.components import Step
from jinqiao.web.exchange import call_view
from jinqiao.web.exchange.call_forms import JudgeForm, JustifyForm, SampleFilter, SamplingForm
from jinqiao.web.exchange.roles import ALERT_WORKERS, AUTHORITY, SEERS, WORKERS
from jinqiao.web.exports import xlsx_response
from jinqiao.web.pagination import page_of
from jinqiao.workflow import actions as workflow_actions
from jinqiao.workflow import queries as workflow

_WAITING = (SampleState.ASKED, SampleState.OVERDUE)


@post_required(*SEERS)
def samples(request: PostHttpRequest) -> HttpResponse:
    """Drawn calls of both sides."""
    form = SampleFilter(request.GET)
    found = samples_found(request.post, **form.wanted())
    if request.GET.get("export") == "xlsx":
        return xlsx_response(
            _("抽查说明"),
            [
                _("抽查期"), _("调用编号"), _("调用时间"), _("授权"), _("目录"), _("需求部门"), _("提供部门"), _("状态"), _("逾期"), _("业务文号"),
                _("说明"), _("说明时间"), _("审核意见"), _("审核时间"),
            ],
            (
                (
                    one.sampling.number, one.number, one.call.at if one.call else None, one.grant.number, one.grant.version.name,
                    one.grant.consumer.name, one.grant.provider.name, one.get_state_display(), _("是") if one.is_late else _("否"),
                    one.case_reference, one.justification, one.answered_at, one.opinion, one.decided_at,
                )
                for one in found.iterator(chunk_size=500)
            ),
        )  # fmt: skip
    page = page_of(request, found)
    clocks = clocks_by_sample(list(page))
    values = {
        "title": _("抽查说明"),
        "form": form,
        "page": page,
        "rows": [(one, clocks.get(one.pk), one.state in _WAITING) for one in page],
    }
    return render(request, "exchange/samples.html", values)


def _steps(found: SampledCall) -> list[Step]:
    done = SampleState(found.state)
    late = done == SampleState.OVERDUE
    waiting = done in _WAITING
    judged = done in (SampleState.ACCEPTED, SampleState.REJECTED)
    return [
        Step(_("公布种子摘要"), "done", note=formats.moment(found.sampling.announced_at)),
        Step(_("抽中"), "done", note=formats.moment(found.sampling.drawn_at)),
        Step(
            _("需求方说明"),
            ("bad" if late else "now") if waiting else "done",
            _("逾期") if found.is_late else "",
            formats.moment(found.answered_at) if found.answered_at else "",
        ),
        Step(
            _("审核"),
            ("bad" if done == SampleState.REJECTED else "done") if judged else ("todo" if waiting else "now"),
            str(done.label) if judged else "",
            formats.moment(found.decided_at) if found.decided_at else "",
        ),
    ]


@post_required(*SEERS)
def sample(request: PostHttpRequest, pk: int) -> HttpResponse:
    """One drawn call: what it was, what the consumer says, what was judged."""
    return _page(request, get_object_or_404(samples_visible_to(request.post), pk=pk), JustifyForm(), JudgeForm())


def _page(request: PostHttpRequest, found: SampledCall, justify: JustifyForm, judge: JudgeForm) -> HttpResponse:
    call = found.call
    values = {
        "title": found.grant.version.name,
        "sample": found,
        "steps": _steps(found),
        "clock": clocks_by_sample([found]).get(found.pk),
        "asked": call_view.asked_pairs(call, proof_of(call), request.post) if call else [],
        "papers": workflow.attachments(trail.subject(found)),
        "justify_form": justify,
        "judge_form": judge,
        "may_justify": found.state in _WAITING and rules.may(rules.check_may_justify, request.post, found),
        "may_judge": found.state == SampleState.JUSTIFIED and rules.may(rules.check_may_judge, request.post, found),
        "grant_suspended": found.grant.state == "suspended",
    }
    return render(request, "exchange/sample.html", values)


@post_required(*WORKERS)
@require_POST
def sample_justify(request: PostHttpRequest, pk: int) -> HttpResponse:
    found = get_object_or_404(samples_visible_to(request.post), pk=pk)
    form = JustifyForm(request.POST, request.FILES)
    if form.is_valid():
        papers = [(str(file.name), file) for file in form.cleaned_data["papers"]]
        try:
            actions.justify_sample(
                found,
                by=request.post,
                case_reference=form.cleaned_data["case_reference"],
                justification=form.cleaned_data["justification"],
                papers=papers,
            )
        except JinqiaoError as error:
            explain(request, form, error, {oversight_errors.JustificationMissing: "justification"})
        else:
            messages.success(request, _("说明已提交，等待审核。"))
            return HttpResponseRedirect(reverse("exchange:sample", args=[pk]))
    return _page(request, found, form, JudgeForm())


@post_required(*ALERT_WORKERS)
@require_POST
def sample_judge(request: PostHttpRequest, pk: int) -> HttpResponse:
    """`accepted=yes` or `no`, with an opinion."""
    found = get_object_or_404(samples_visible_to(request.post), pk=pk)
    form = JudgeForm(request.POST)
    if form.is_valid():
        accepted = request.POST.get("accepted") == "yes"
        try:
            actions.judge_sample(found, by=request.post, accepted=accepted, opinion=form.cleaned_data["opinion"])
        except JinqiaoError as error:
            explain(request, form, error, {oversight_errors.OpinionMissing: "opinion"})
        else:
            messages.success(request, _("说明成立，已记下。") if accepted else _("说明不成立，已告知主管部门。"))
            return HttpResponseRedirect(reverse("exchange:sample", args=[pk]))
    return _page(request, found, JustifyForm(), form)


@post_required(*SEERS)
def sample_paper(request: PostHttpRequest, pk: int, paper: int) -> HttpResponse:
    found = get_object_or_404(samples_visible_to(request.post), pk=pk)
    attachment = workflow.attachments(trail.subject(found)).filter(pk=paper).first()
    if attachment is None:
        raise NotFound
    file = workflow_actions.open_attachment(attachment)
    response = FileResponse(file, as_attachment=True, filename=attachment.name, content_type=attachment.media_type)
    return cast("HttpResponse", response)  # views promise an HttpResponse; Django's streaming one is no subclass


@post_required(*SEERS)
def samplings(request: PostHttpRequest) -> HttpResponse:
    """Periods with the digests of their seeds, announced to everybody."""
    found = periods_visible_to(request.post)
    if request.GET.get("export") == "xlsx":
        return xlsx_response(
            _("抽查期"),
            [
                _("抽查期"), _("首日"), _("末日"), _("抽取比例"), _("每部门至多"), _("种子摘要"), _("种子"), _("算法套件"), _("公布时间"),
                _("抽取时间"), _("可抽调用数"), _("抽中"),
            ],
            (
                (
                    one.number, one.starts_on, one.ends_on, one.share, one.most, one.seed_digest, one.seed, one.suite,
                    one.announced_at, one.drawn_at, one.candidates, one.asked,
                )
                for one in found.iterator(chunk_size=500)
            ),
        )  # fmt: skip
    values = {
        "title": _("抽查期"),
        "page": page_of(request, found),
        "may_announce": rules.may(rules.check_may_announce_sampling, request.post),
    }
    return render(request, "exchange/samplings.html", values)


@post_required(*SEERS)
def sampling(request: PostHttpRequest, pk: int) -> HttpResponse:
    """How the calls of a period were drawn, so that anybody can do it again."""
    found = get_object_or_404(periods_visible_to(request.post), pk=pk)
    values = {
        "title": _("抽查期%(number)s") % {"number": found.number},
        "sampling": found,
        "samples_url": f"{reverse('exchange:samples')}?period={found.number}",
    }
    return render(request, "exchange/sampling.html", values)


@post_required(*AUTHORITY)
@require_http_methods(["GET", "POST"])
def sampling_new(request: PostHttpRequest) -> HttpResponse:
    """A period of the authority's own."""
    rules.check_may_announce_sampling(request.post)
    form = SamplingForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        values = form.cleaned_data
        try:
            made = actions.announce_sampling(
                by=request.post,
                starts_on=values["starts_on"],
                ends_on=values["ends_on"],
                share=values["share"] / 100,
                most=values["most"],
            )
        except JinqiaoError as error:
            explain(request, form, error, {oversight_errors.SamplingPeriodWrong: "ends_on"})
        else:
            messages.success(request, _("抽查期已公布，种子的摘要已写入审计留痕。"))
            return HttpResponseRedirect(reverse("exchange:sampling", args=[made.pk]))
    shown = {
        "title": _("公布专项抽查"),
        "form": form,
        "note": _("每月的抽查自动公布，这里是另外加的。公布时只给出种子的摘要，末日过后公布种子并抽取。"),
        "action": _("公布抽查期"),
        "back": reverse("exchange:samplings"),
    }
    return render(request, "exchange/form.html", shown)
