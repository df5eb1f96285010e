"""May this post do this to that? Pure reads; each function returns nothing or raises the reason.

Who is provider or consumer follows from who owns the data (design §5), never from the role.
"""

from collections.abc import Callable

from jinqiao.accounts.enums import Role
from jinqiao.accounts.models import Application, Organisation, Post
from jinqiao.catalogue.models import CatalogueEntry
from jinqiao.exchange.enums import OF_EVIDENCE
from jinqiao.exchange.errors import (
    GrantNotLive,
    NotYourAlert,
    NotYourApplication,
    NotYourEntry,
    NotYourEvidence,
    NotYourNode,
    NotYourQuarantine,
    NotYourService,
    NotYourSource,
    NotYourTask,
    RunHeldByOther,
    SubjectKeyNotYours,
)
from jinqiao.exchange.models import Alert, Anomaly, DataSource, ExchangeTask, Node, QueryService, Run, SampledCall
from jinqiao.exchange.oversight_errors import (
    NotTheRightsDesk,
    NotYourAnomaly,
    NotYourSample,
    NotYourSampling,
)
from jinqiao.kernel import moments
from jinqiao.kernel.errors import NotAllowed
from jinqiao.sharing.enums import GrantState
from jinqiao.sharing.models import Grant

WORKERS: frozenset[Role] = frozenset({Role.OPERATOR, Role.DEPARTMENT_ADMINISTRATOR, Role.COUNTY_CLERK})
"""Roles of a department that set movement up and keep it going."""


def _works_for(post: Post, organisation_id: int) -> bool:
    return post.organisation_id == organisation_id and post.role in WORKERS


def _administers(post: Post, organisation_id: int) -> bool:
    return post.organisation_id == organisation_id and post.role == Role.DEPARTMENT_ADMINISTRATOR


def check_may_manage_nodes(post: Post, organisation: Organisation) -> None:
    """A department's administrator for its own nodes, the bureau for all."""
    if not _administers(post, organisation.pk) and post.role != Role.BUREAU:
        raise NotYourNode


def check_may_manage_node(post: Post, node: Node) -> None:
    check_may_manage_nodes(post, node.organisation)


def check_may_manage_sources(post: Post, organisation_id: int) -> None:
    if not _works_for(post, organisation_id):
        raise NotYourSource


def check_may_manage_source(post: Post, source: DataSource) -> None:
    check_may_manage_sources(post, source.organisation_id)


def check_may_bind(post: Post, entry: CatalogueEntry) -> None:
    if not _works_for(post, entry.provider_id):
        raise NotYourEntry


def check_may_run(post: Post, task: ExchangeTask) -> None:
    """Configuring, starting, pausing: the consumer's people."""
    if not _works_for(post, task.grant.consumer_id):
        raise NotYourTask


def check_may_restrain(post: Post, task: ExchangeTask) -> None:
    """Stopping a run and limiting its speed: both sides, for the source is the provider's, and the bureau."""
    grant = task.grant
    if not _works_for(post, grant.consumer_id) and not _works_for(post, grant.provider_id) and post.role != Role.BUREAU:
        raise NotYourTask


def check_may_watch(post: Post, task: ExchangeTask) -> None:
    """Comparing contents, choosing checks and alert rules, noting new columns: both sides."""
    grant = task.grant
    if not _works_for(post, grant.consumer_id) and not _works_for(post, grant.provider_id):
        raise NotYourTask


def check_may_release(post: Post, run: Run) -> None:
    """Going on with a run that somebody holds: the side that holds it, or the bureau."""
    check_may_restrain(post, run.task)
    holder = run.paused_by
    if holder is not None and post.role != Role.BUREAU and post.organisation_id != holder.organisation_id:
        raise RunHeldByOther(organisation=holder.organisation.name)


def check_may_approve_reload(post: Post, task: ExchangeTask) -> None:
    """Emptying a table of the consumer's: its administrator signs."""
    if not _administers(post, task.grant.consumer_id):
        raise NotYourTask


def check_may_open_quarantine(post: Post, task: ExchangeTask) -> None:
    """Rows that were set aside are the provider's, and hold what they held at the source: its people only."""
    if not _works_for(post, task.grant.provider_id):
        raise NotYourQuarantine


def check_may_see_alert(post: Post, alert: Alert) -> None:
    sides = {alert.organisation_id}
    if alert.task is not None:
        sides |= {alert.task.grant.provider_id, alert.task.grant.consumer_id}
    if post.role == Role.AUDITOR and alert.kind in OF_EVIDENCE:
        return
    if post.role != Role.BUREAU and not any(_works_for(post, side) for side in sides):
        raise NotYourAlert


def check_may_set_alert_rule(post: Post, task: ExchangeTask | None) -> None:
    """For one task both sides, for all the bureau."""
    if task is not None and post.role != Role.BUREAU:
        check_may_watch(post, task)
    elif post.role != Role.BUREAU:
        raise NotYourAlert


def check_may_manage_channels(post: Post, organisation_id: int) -> None:
    """Where alerts are sent: each department's administrator for its own, the bureau for its own, who audits for that of the audit."""
    keepers = (Role.DEPARTMENT_ADMINISTRATOR, Role.BUREAU, Role.AUDITOR)
    if post.organisation_id != organisation_id or post.role not in keepers:
        raise NotYourAlert


def check_may_attach(post: Post, service: QueryService, application: Application | None = None) -> None:
    """Which applications call the service: the consumer decides. A developer of the consumer decides for the applications whose
    contact he is; without `application`: may he decide for any?"""
    is_developer = post.role == Role.DEVELOPER and post.organisation_id == service.grant.consumer_id
    if is_developer and (application is None or application.contact_id == post.person_id):
        return
    if not _works_for(post, service.grant.consumer_id):
        raise NotYourService


def check_may_suspend_service(post: Post, service: QueryService) -> None:
    grant = service.grant
    both = _administers(post, grant.consumer_id) or _administers(post, grant.provider_id)
    if not both and post.role != Role.BUREAU:
        raise NotYourService


def check_may_limit_service(post: Post, service: QueryService) -> None:
    """The provider protects its source."""
    if not _works_for(post, service.grant.provider_id):
        raise NotYourService


def check_may_manage_keys(post: Post, application: Application) -> None:
    """The application's contact, or its department's administrator."""
    is_contact = post.role == Role.DEVELOPER and post.person_id == application.contact_id
    if post.organisation_id != application.organisation_id or not (
        is_contact or post.role == Role.DEPARTMENT_ADMINISTRATOR
    ):
        raise NotYourApplication


def check_may_renew_subject_key(post: Post) -> None:
    """The city's key of persons: who looks after keys, and nobody with business of a department."""
    if post.role != Role.SECURITY_ADMINISTRATOR:
        raise SubjectKeyNotYours


def _is_authority(post: Post) -> bool:
    return post.role == Role.BUREAU and post.organisation.is_authority


def check_may_close_anomaly(post: Post, anomaly: Anomaly) -> None:
    """The provider whose data was asked for, or the authority; what goes across providers the authority alone."""
    own = anomaly.provider_id is not None and _works_for(post, anomaly.provider_id)
    if not own and not _is_authority(post):
        raise NotYourAnomaly


def check_may_announce_sampling(post: Post) -> None:
    if not _is_authority(post):
        raise NotYourSampling


def check_may_justify(post: Post, sample: SampledCall) -> None:
    """The people of the side that called."""
    if not _works_for(post, sample.grant.consumer_id):
        raise NotYourSample


def check_may_judge(post: Post, sample: SampledCall) -> None:
    """The provider or the authority; a justification that came late, and with it the end of a suspension, the authority alone."""
    own = not sample.is_late and _works_for(post, sample.grant.provider_id)
    if not own and not _is_authority(post):
        raise NotYourSample


def check_may_tell_disclosures(post: Post) -> None:
    """A person's right of access is answered by the authority, which sees all sides (个人信息保护法 第四十五条)."""
    if not _is_authority(post):
        raise NotTheRightsDesk


def check_may_take_packs(post: Post) -> None:
    """Evidence of a whole period holds all sides' calls."""
    if post.role != Role.AUDITOR and not _is_authority(post):
        raise NotYourEvidence


def may(check: Callable[..., None], *arguments: object) -> bool:
    """Whether a check passes, for pages that show or hide a button."""
    try:
        check(*arguments)
    except NotAllowed:
        return False
    return True


def is_live(grant: Grant) -> bool:
    """In use, and within its dates today."""
    return grant.state == GrantState.ACTIVE and grant.valid_from <= moments.today() <= grant.valid_until


def check_is_live(grant: Grant) -> None:
    """No grant, no byte. A grant whose dates have passed is not live even before its state says so."""
    if not is_live(grant):
        raise GrantNotLive(
            grant=grant.number, state=str(grant.get_state_display()), until=grant.valid_until.isoformat()
        )
