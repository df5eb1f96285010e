"""Who may do what with catalogue entries now. `check_…` raises with the reason, `may_…` is its answer for pages."""

from collections.abc import Callable

from jinqiao.accounts.enums import Role
from jinqiao.accounts.models import Organisation, Post
from jinqiao.accounts.queries import authority_of
from jinqiao.catalogue import errors
from jinqiao.catalogue.enums import VERSION_MOVES, VersionState
from jinqiao.catalogue.models import CatalogueEntry, EntryVersion
from jinqiao.kernel.errors import JinqiaoError

COMPILERS: frozenset[Role] = frozenset({Role.OPERATOR, Role.COUNTY_CLERK})
IN_WORK: frozenset[VersionState] = frozenset(
    {
        VersionState.DRAFT,
        VersionState.DEPARTMENT_REVIEW,
        VersionState.HEAD_SIGNATURE,
        VersionState.AUTHORITY_REVIEW,
        VersionState.RETURNED,
    }
)
WITH_COMPILER: frozenset[VersionState] = frozenset({VersionState.DRAFT, VersionState.RETURNED})


def check_may_compile(post: Post, provider: Organisation) -> None:
    """Raises NotCompiler, NotProvider."""
    if post.role not in COMPILERS:
        raise errors.NotCompiler
    if post.organisation_id != provider.pk:
        raise errors.NotProvider(provider=provider.name)


def check_may_change(post: Post, version: EntryVersion) -> None:
    """Raises NotCompiler, NotProvider, EntryWithdrawn, VersionNotReady."""
    check_may_compile(post, version.entry.provider)
    check_not_withdrawn(version.entry)
    if version.state not in WITH_COMPILER:
        raise errors.VersionNotReady(state=version.get_state_display())


def check_may_review_as_department(post: Post, version: EntryVersion) -> None:
    _check_own_reviewer(post, version, Role.DEPARTMENT_ADMINISTRATOR)
    _check_state(version, VersionState.DEPARTMENT_REVIEW)


def check_may_sign_as_head(post: Post, version: EntryVersion) -> None:
    _check_own_reviewer(post, version, Role.HEAD)
    _check_state(version, VersionState.HEAD_SIGNATURE)


def check_may_review_as_authority(post: Post, version: EntryVersion) -> None:
    """Raises NotReviewer, NotAuthority, OwnWork, VersionNotReady."""
    if post.role != Role.BUREAU:
        raise errors.NotReviewer(role=Role.BUREAU.label)
    authority = authority_of(version.entry.provider.region)
    if authority is None or authority.pk != post.organisation_id:
        raise errors.NotAuthority(provider=version.entry.provider.name)
    _check_not_own_work(post, version)
    _check_state(version, VersionState.AUTHORITY_REVIEW)


def check_may_withdraw(post: Post, entry: CatalogueEntry) -> None:
    """Before publication its compilers may; after it the provider's administrator or the authority."""
    check_not_withdrawn(entry)
    own = post.organisation_id == entry.provider_id
    if own and post.role == Role.DEPARTMENT_ADMINISTRATOR:
        return
    if entry.live_version_id is None:
        check_may_compile(post, entry.provider)
        return
    authority = authority_of(entry.provider.region)
    if post.role != Role.BUREAU or authority is None or authority.pk != post.organisation_id:
        raise errors.MayNotWithdraw


def check_may_import_classification(post: Post) -> None:
    """The tree is the authority's."""
    if post.role != Role.BUREAU or not post.organisation.is_authority:
        raise errors.NotAuthority(provider=post.organisation.name)


def check_not_withdrawn(entry: CatalogueEntry) -> None:
    if entry.withdrawn_at is not None:
        raise errors.EntryWithdrawn


def check_move(version: EntryVersion, to: VersionState) -> None:
    """Raises VersionNotReady where the table of moves has no such move."""
    if to not in VERSION_MOVES[VersionState(version.state)]:
        raise errors.VersionNotReady(state=version.get_state_display())


def step_of(post: Post, version: EntryVersion) -> VersionState | None:
    """The review step that waits for this post, None where it is not this post's turn."""
    for check in (check_may_review_as_department, check_may_sign_as_head, check_may_review_as_authority):
        if may(check, post, version):
            return VersionState(version.state)
    return None


def may_compile(post: Post | None, provider: Organisation) -> bool:
    return post is not None and may(check_may_compile, post, provider)


def may_change(post: Post | None, version: EntryVersion) -> bool:
    return post is not None and may(check_may_change, post, version)


def may_withdraw(post: Post | None, entry: CatalogueEntry) -> bool:
    return post is not None and may(check_may_withdraw, post, entry)


def may_import_classification(post: Post | None) -> bool:
    return post is not None and may(check_may_import_classification, post)


def may(check: Callable[..., None], *arguments: object) -> bool:
    """Whether a check lets pass."""
    try:
        check(*arguments)
    except JinqiaoError:
        return False
    return True


def _check_own_reviewer(post: Post, version: EntryVersion, role: Role) -> None:
    if post.role != role:
        raise errors.NotReviewer(role=role.label)
    if post.organisation_id != version.entry.provider_id:
        raise errors.NotProvider(provider=version.entry.provider.name)
    _check_not_own_work(post, version)


def _check_not_own_work(post: Post, version: EntryVersion) -> None:
    if post.person_id == version.compiled_by.person_id:
        raise errors.OwnWork


def _check_state(version: EntryVersion, state: VersionState) -> None:
    if version.state != state:
        raise errors.VersionNotReady(state=version.get_state_display())
