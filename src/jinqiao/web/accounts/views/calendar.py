"""The calendar of working days: years as published, and the entry of a new year's notice."""

from typing import Any

from django.contrib import messages
from django.http import HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404, render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods

from jinqiao.accounts.enums import Role
from jinqiao.kernel.errors import JinqiaoError
from jinqiao.web.access import PostHttpRequest, post_required
from jinqiao.web.accounts.forms import CalendarForm
from jinqiao.web.accounts.refusals import explain
from jinqiao.web.exports import xlsx_response
from jinqiao.web.pagination import page_of
from jinqiao.workflow import actions, queries, rules
from jinqiao.workflow.errors import CalendarDaysWrong, CalendarYearEntered
from jinqiao.workflow.models import CalendarYear

SEERS = (Role.BUREAU, Role.AUDITOR, Role.SYSTEM_ADMINISTRATOR)


@post_required(*SEERS)
def calendar(request: PostHttpRequest) -> HttpResponse:
    found = queries.calendar_years()
    if request.GET.get("export") == "xlsx":
        return xlsx_response(
            _("工作日历"),
            [_("年份"), _("通知"), _("放假日（周一至周五）"), _("调休上班日"), _("录入时间")],
            ((year.year, year.notice, year.off_days, year.work_days, year.entered_at) for year in found),
        )
    latest = found.first()
    values = {
        "title": _("工作日历"),
        "page": page_of(request, found),
        "undated": queries.undated_clocks().count(),
        "next_year": latest.year + 1 if latest else None,
        "may_enter": rules.may_keep_calendar(request.post),
    }
    return render(request, "accounts/calendar.html", values)


@post_required(*SEERS)
def calendar_year(request: PostHttpRequest, year: int) -> HttpResponse:
    """The days of one year."""
    found = get_object_or_404(CalendarYear, year=year)
    values = {
        "title": _("%(year)s年放假与调休") % {"year": year},
        "year": found,
        "days": found.days.order_by("on"),
        "may_enter": rules.may_keep_calendar(request.post),
    }
    return render(request, "accounts/calendar_year.html", values)


@post_required(Role.BUREAU)
@require_http_methods(["GET", "POST"])
def calendar_new(request: PostHttpRequest) -> HttpResponse:
    """Enter a year's notice from pasted lines; what cannot be read is named line by line."""
    rules.check_may_keep_calendar(request.post)
    latest = queries.calendar_years().first()
    initial: dict[str, Any] = {"year": request.GET.get("year") or (latest.year + 1 if latest else None)}
    form = CalendarForm(request.POST or None, initial=initial)
    if request.method == "POST" and form.is_valid():
        year = form.cleaned_data["year"]
        try:
            actions.enter_calendar_year(
                year,
                form.cleaned_data["text"],
                form.cleaned_data["notice"],
                by=request.post,
                replace=form.cleaned_data["replace"],
            )
        except JinqiaoError as error:
            explain(request, form, error, {CalendarDaysWrong: "text", CalendarYearEntered: "year"})
        else:
            messages.success(request, _("已录入%(year)s年的安排，等它的时限都已算出到期日。") % {"year": year})
            return HttpResponseRedirect(reverse("accounts:calendar_year", args=[year]))
    values = {"title": _("录入放假安排"), "form": form, "back": reverse("accounts:calendar")}
    return render(request, "accounts/calendar_new.html", values)
