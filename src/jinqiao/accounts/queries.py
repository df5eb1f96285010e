"""Reading accounts."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

from axes.models import AccessAttempt
from django.db.models import Count, Q, QuerySet

from jinqiao.accounts.enums import ApplicationState, Role
from jinqiao.accounts.models import Application, Organisation, Person, Post, Region
from jinqiao.kernel import moments


def live(on: date) -> Q:
    """Condition on posts: held on that day, by somebody who may sign in, at an organisation in use."""
    return (
        Q(starts_on__lte=on)
        & (Q(ends_on__isnull=True) | Q(ends_on__gt=on))
        & Q(person__is_active=True, organisation__is_active=True)
        & (Q(person__valid_until__isnull=True) | Q(person__valid_until__gte=on))
    )


def live_posts(person: Person) -> QuerySet[Post]:
    """Posts that the person may act in today, in a stable order, with organisation, region and person loaded."""
    return (
        Post.objects.filter(live(moments.today()), person=person)
        .select_related("person", "section", "organisation__region")
        .order_by("organisation__position", "organisation_id", "role", "id")
    )


def acting_post(person: Person, post_id: int | None) -> Post | None:
    """The post chosen earlier, if it is still live; else the first live one; None where there is none."""
    posts = list(live_posts(person))
    return next((post for post in posts if post.pk == post_id), posts[0] if posts else None)


def holders(organisation: Organisation, role: Role | str) -> QuerySet[Post]:
    """Live posts of a role at an organisation."""
    return (
        Post.objects.filter(live(moments.today()), organisation=organisation, role=role)
        .select_related("person", "section", "organisation")
        .order_by("id")
    )


def holders_of_role(role: Role | str) -> QuerySet[Post]:
    """Live posts of a role anywhere."""
    return Post.objects.filter(live(moments.today()), role=role).select_related("person", "organisation").order_by("id")


def authority_of(region: Region) -> Organisation | None:
    """The body in charge of sharing (政务数据共享主管部门) of a region, else of the nearest region above that has one."""
    place: Region | None = region
    while place is not None:
        found = place.organisations.filter(is_authority=True, is_active=True).first()
        if found is not None:
            return found
        place = place.parent
    return None


@dataclass(frozen=True, slots=True)
class Branch:
    """An organisation in the tree: `depth` 0 at the top; `people` counts who holds a live post there."""

    organisation: Organisation
    depth: int
    people: int


def organisation_tree(*, text: str = "", only_active: bool = False) -> list[Branch]:
    """All organisations, parents before children, by region and position. With `text`, only the matching ones, flat."""
    found = Organisation.objects.select_related("region")
    if only_active:
        found = found.filter(is_active=True)
    if text:
        found = found.filter(Q(name__icontains=text) | Q(short_name__icontains=text) | Q(credit_code__iexact=text))
    ordered = sorted(found, key=lambda body: (body.region.code, body.position, body.credit_code))
    people = dict(
        Post.objects.filter(live(moments.today()))
        .order_by()
        .values_list("organisation_id")
        .annotate(people=Count("person_id", distinct=True))
    )
    if text:
        return [Branch(body, 0, people.get(body.pk, 0)) for body in ordered]
    known = {body.pk for body in ordered}
    below: dict[int | None, list[Organisation]] = {}
    for body in ordered:
        below.setdefault(body.parent_id if body.parent_id in known else None, []).append(body)
    tree: list[Branch] = []

    def walk(parent_id: int | None, depth: int) -> None:
        for body in below.get(parent_id, []):
            tree.append(Branch(body, depth, people.get(body.pk, 0)))
            walk(body.pk, depth + 1)

    walk(None, 0)
    return tree


def people(
    *, text: str = "", organisation: Organisation | None = None, role: str = "", state: str = ""
) -> QuerySet[Person]:
    """People by name or login, by where they hold a live post and as what. `state`: active, ended (cannot sign in)."""
    today = moments.today()
    found = Person.objects.order_by("username")
    if text:
        found = found.filter(Q(name__icontains=text) | Q(username__icontains=text))
    if organisation is not None or role:
        held = Post.objects.filter(live(today))
        if organisation is not None:
            held = held.filter(organisation=organisation)
        if role:
            held = held.filter(role=role)
        found = found.filter(pk__in=held.values("person_id"))
    may_sign_in = Q(is_active=True) & (Q(valid_until__isnull=True) | Q(valid_until__gte=today))
    if state == "active":
        found = found.filter(may_sign_in)
    elif state == "ended":
        found = found.exclude(may_sign_in)
    return found


def applications_for(post: Post) -> QuerySet[Application]:
    """Applications that the post may see: the bureau and the system administrator all, others their organisation's."""
    found = Application.objects.select_related("organisation", "contact").order_by("number")
    if post.role in (Role.BUREAU, Role.SYSTEM_ADMINISTRATOR, Role.SECURITY_ADMINISTRATOR, Role.AUDITOR):
        return found
    return found.filter(organisation=post.organisation)


def active_applications(organisation: Organisation) -> QuerySet[Application]:
    return Application.objects.filter(organisation=organisation, state=ApplicationState.ACTIVE).order_by("number")


def posts_at(organisation: Organisation) -> QuerySet[Post]:
    """Who holds which live post at an organisation."""
    return (
        Post.objects.filter(live(moments.today()), organisation=organisation)
        .select_related("person", "section")
        .order_by("role", "person__username")
    )


def posts_of(person: Person) -> QuerySet[Post]:
    """All posts of a person, those held before too, the latest first."""
    return person.posts.select_related("organisation", "section").order_by("-starts_on", "-id")


def failed_attempts(person: Person) -> int:
    """Wrong passwords in a row for this login name, from all addresses together."""
    return sum(AccessAttempt.objects.filter(username=person.username).values_list("failures_since_start", flat=True))
