"""People and their posts. Accounts belong to the system administrator, posts and lockout to the security administrator."""

from django.contrib import messages
from django.db import transaction
from django.db.models import Prefetch
from django.http import HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404, render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST

from jinqiao.accounts import actions, errors, queries
from jinqiao.accounts.enums import Role
from jinqiao.accounts.models import Person, Post
from jinqiao.kernel import moments
from jinqiao.kernel.errors import JinqiaoError
from jinqiao.web.access import PostHttpRequest, post_required
from jinqiao.web.accounts.forms import AppointForm, PeopleFilter, PersonFields, PersonForm
from jinqiao.web.accounts.refusals import explain
from jinqiao.web.components import Pair
from jinqiao.web.exports import xlsx_response
from jinqiao.web.formats import moment
from jinqiao.web.pagination import page_of

KEEPERS = (Role.SYSTEM_ADMINISTRATOR, Role.SECURITY_ADMINISTRATOR)
_PERSON_FIELDS: dict[type[JinqiaoError], str] = {
    errors.UsernameTaken: "username",
    errors.UsernameMalformed: "username",
    errors.ContractorWithoutEnd: "valid_until",
}
_POST_FIELDS: dict[type[JinqiaoError], str] = {
    errors.HoldsAnotherAdministrator: "role",
    errors.AdministratorHasBusiness: "role",
    errors.PostStands: "role",
    errors.PostDates: "ends_on",
    errors.SectionElsewhere: "section",
}


@post_required(*KEEPERS)
def people(request: PostHttpRequest) -> HttpResponse:
    form = PeopleFilter(request.GET)
    form.is_valid()
    wanted = form.cleaned_data
    today = moments.today()
    found = queries.people(
        text=wanted.get("q", "").strip(),
        organisation=wanted.get("organisation"),
        role=wanted.get("role", ""),
        state=wanted.get("state", ""),
    ).prefetch_related(
        Prefetch(
            "posts",
            Post.objects.filter(queries.live(today)).select_related("organisation").order_by("organisation_id", "role"),
            to_attr="held_posts",
        )
    )
    if request.GET.get("export") == "xlsx":
        return xlsx_response(
            _("人员与岗位"),
            [_("平台账号"), _("姓名"), _("在任岗位"), _("外包单位"), _("有效期至"), _("可登录"), _("上次登录")],
            (
                (
                    person.username,
                    person.name,
                    "；".join(
                        f"{post.organisation.short_name} {post.get_role_display()}" for post in person.held_posts
                    ),
                    person.employer,
                    person.valid_until,
                    person.may_sign_in_on(today),
                    person.last_login,
                )
                for person in found.iterator(chunk_size=500)
            ),
        )
    page = page_of(request, found)
    values = {
        "title": _("人员与岗位"),
        "form": form,
        "page": page,
        "rows": [(person, person.may_sign_in_on(today)) for person in page],
        "may_add": request.post.role == Role.SYSTEM_ADMINISTRATOR,
    }
    return render(request, "accounts/person_list.html", values)


@post_required(*KEEPERS)
def person(request: PostHttpRequest, pk: int) -> HttpResponse:
    """One person: the account, posts held now and before, and what the acting administrator may do."""
    who = get_object_or_404(Person, pk=pk)
    today = moments.today()
    posts = [(post, post.ends_on is None or post.ends_on > today) for post in queries.posts_of(who)]
    values = {
        "title": who.name,
        "who": who,
        "may_sign_in": who.may_sign_in_on(today),
        "pairs": [
            Pair(_("平台账号"), who.username, code=True),
            Pair(_("手机"), who.mobile),
            Pair(_("外包单位"), who.employer),
            Pair(_("有效期至"), who.valid_until.isoformat() if who.valid_until else _("长期")),
            Pair(_("上次登录"), moment(who.last_login)),
            Pair(_("口令修改时间"), moment(who.password_changed_at)),
        ],
        "held": [post for post, is_held in posts if is_held],
        "ended": [post for post, is_held in posts if not is_held],
        "failures": queries.failed_attempts(who),
        "is_system": request.post.role == Role.SYSTEM_ADMINISTRATOR,
        "is_security": request.post.role == Role.SECURITY_ADMINISTRATOR,
    }
    return render(request, "accounts/person.html", values)


@post_required(Role.SYSTEM_ADMINISTRATOR)
@never_cache
@require_http_methods(["GET", "POST"])
def person_new(request: PostHttpRequest) -> HttpResponse:
    """A new account; its initial password is shown once."""
    form = PersonForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        try:
            with transaction.atomic():
                who = actions.add_person(by=request.post, **form.cleaned_data)
                initial = actions.reset_password(who, by=request.post)
        except JinqiaoError as error:
            explain(request, form, error, _PERSON_FIELDS)
        else:
            return _initial_password(request, who, initial)
    values = {"title": _("新增人员"), "form": form, "action": _("新增人员"), "back": reverse("accounts:people")}
    return render(request, "accounts/form.html", values)


@post_required(Role.SYSTEM_ADMINISTRATOR)
@require_http_methods(["GET", "POST"])
def person_edit(request: PostHttpRequest, pk: int) -> HttpResponse:
    who = get_object_or_404(Person, pk=pk)
    initial = {"name": who.name, "mobile": who.mobile, "employer": who.employer, "valid_until": who.valid_until}
    form = PersonFields(request.POST or None, initial=initial)
    back = reverse("accounts:person", args=[pk])
    if request.method == "POST" and form.is_valid():
        try:
            actions.edit_person(who, by=request.post, **form.cleaned_data)
        except JinqiaoError as error:
            explain(request, form, error, _PERSON_FIELDS)
        else:
            messages.success(request, _("已保存。"))
            return HttpResponseRedirect(back)
    values = {"title": _("修改%(name)s") % {"name": who.name}, "form": form, "action": _("保存修改"), "back": back}
    return render(request, "accounts/form.html", values)


@post_required(Role.SYSTEM_ADMINISTRATOR)
@never_cache
@require_http_methods(["GET", "POST"])
def person_password(request: PostHttpRequest, pk: int) -> HttpResponse:
    """Asks, then shows the new initial password once."""
    who = get_object_or_404(Person, pk=pk)
    if request.method == "POST":
        return _initial_password(request, who, actions.reset_password(who, by=request.post))
    values = {
        "title": _("重置口令"),
        "question": _("重置%(name)s的口令？") % {"name": who.name},
        "what_stays": [_("原口令立即作废，其登录全部退出。新的初始口令只显示一次，首次登录须修改。")],
        "action": _("重置口令"),
        "danger": True,
        "back": reverse("accounts:person", args=[pk]),
    }
    return render(request, "components/confirm.html", values)


@post_required(Role.SYSTEM_ADMINISTRATOR)
@require_http_methods(["GET", "POST"])
def person_close(request: PostHttpRequest, pk: int) -> HttpResponse:
    who = get_object_or_404(Person, pk=pk, is_active=True)
    back = reverse("accounts:person", args=[pk])
    if request.method == "POST":
        actions.close_person(who, by=request.post)
        messages.success(request, _("已停用%(name)s的账号。") % {"name": who.name})
        return HttpResponseRedirect(back)
    values = {
        "title": _("停用账号"),
        "question": _("停用%(name)s的账号？") % {"name": who.name},
        "what_stays": [_("其登录立即退出，岗位不再生效。做过的事和签过的字都保留。账号可以恢复。")],
        "action": _("停用账号"),
        "danger": True,
        "back": back,
    }
    return render(request, "components/confirm.html", values)


@post_required(Role.SYSTEM_ADMINISTRATOR)
@require_POST
def person_reopen(request: PostHttpRequest, pk: int) -> HttpResponse:
    who = get_object_or_404(Person, pk=pk, is_active=False)
    actions.reopen_person(who, by=request.post)
    messages.success(request, _("已恢复%(name)s的账号。") % {"name": who.name})
    return HttpResponseRedirect(reverse("accounts:person", args=[pk]))


@post_required(Role.SECURITY_ADMINISTRATOR)
@require_POST
def person_unlock(request: PostHttpRequest, pk: int) -> HttpResponse:
    who = get_object_or_404(Person, pk=pk)
    actions.unlock(who, by=request.post)
    messages.success(request, _("已解除锁定，%(name)s可以重新登录。") % {"name": who.name})
    return HttpResponseRedirect(reverse("accounts:person", args=[pk]))


@post_required(Role.SECURITY_ADMINISTRATOR)
@require_http_methods(["GET", "POST"])
def post_new(request: PostHttpRequest, pk: int) -> HttpResponse:
    """Appoint a person; `?organisation=` fills in where one comes from an organisation's page."""
    who = get_object_or_404(Person, pk=pk)
    form = AppointForm(request.POST or None, initial={"organisation": request.GET.get("organisation", "")})
    back = reverse("accounts:person", args=[pk])
    if request.method == "POST" and form.is_valid():
        try:
            actions.appoint(by=request.post, person=who, **form.cleaned_data)
        except JinqiaoError as error:
            explain(request, form, error, _POST_FIELDS)
        else:
            messages.success(request, _("已任命。%(name)s可以切换到新岗位。") % {"name": who.name})
            return HttpResponseRedirect(back)
    values = {"title": _("任命%(name)s") % {"name": who.name}, "form": form, "action": _("任命"), "back": back}
    return render(request, "accounts/form.html", values)


@post_required(Role.SECURITY_ADMINISTRATOR)
@require_http_methods(["GET", "POST"])
def post_end(request: PostHttpRequest, pk: int) -> HttpResponse:
    held = get_object_or_404(Post.objects.select_related("person", "organisation"), pk=pk)
    back = reverse("accounts:person", args=[held.person_id])
    if request.method == "POST":
        actions.end_post(held, by=request.post)
        messages.success(request, _("岗位已结束。"))
        return HttpResponseRedirect(back)
    values = {
        "title": _("结束岗位"),
        "question": _("结束“%(post)s”？") % {"post": held},
        "what_stays": [_("立即生效，其待办留给同岗位的其他人。签过的字和做过的事都保留。")],
        "action": _("结束岗位"),
        "danger": True,
        "back": back,
    }
    return render(request, "components/confirm.html", values)


def _initial_password(request: PostHttpRequest, who: Person, initial: str) -> HttpResponse:
    return render(request, "accounts/initial_password.html", {"title": _("初始口令"), "who": who, "initial": initial})
