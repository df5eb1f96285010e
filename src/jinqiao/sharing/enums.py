"""States of requests, decisions and grants."""

from django.db import models
from django.utils.translation import gettext_lazy as _


class RequestState(models.TextChoices):
    DRAFT = "draft", _("草稿")
    HEAD_APPROVAL = "head_approval", _("待本方审批")
    AWAITING_REPLY = "awaiting_reply", _("待答复")
    AWAITING_PAPERS = "awaiting_papers", _("待补正")
    REPLY_APPROVAL = "reply_approval", _("待答复审批")
    GRANTED = "granted", _("已授权")
    REFUSED = "refused", _("不同意")
    WITHDRAWN = "withdrawn", _("已撤回")


REQUEST_MOVES: dict[RequestState, frozenset[RequestState]] = {
    RequestState.DRAFT: frozenset({RequestState.HEAD_APPROVAL, RequestState.WITHDRAWN}),
    # straight to GRANTED only under a rule set that knows no reply for what is shared without conditions (direct use)
    RequestState.HEAD_APPROVAL: frozenset(
        {RequestState.AWAITING_REPLY, RequestState.DRAFT, RequestState.WITHDRAWN, RequestState.GRANTED}
    ),
    RequestState.AWAITING_REPLY: frozenset(
        {RequestState.AWAITING_PAPERS, RequestState.REPLY_APPROVAL, RequestState.WITHDRAWN}
    ),
    RequestState.AWAITING_PAPERS: frozenset({RequestState.AWAITING_REPLY, RequestState.WITHDRAWN}),
    RequestState.REPLY_APPROVAL: frozenset({RequestState.GRANTED, RequestState.REFUSED, RequestState.AWAITING_REPLY}),
    RequestState.GRANTED: frozenset(),
    RequestState.REFUSED: frozenset(),
    RequestState.WITHDRAWN: frozenset(),
}


class GrantState(models.TextChoices):
    ACTIVE = "active", _("使用中")
    SUSPENDED = "suspended", _("已暂停")
    EXPIRED = "expired", _("已到期")
    REVOKED = "revoked", _("已撤销")
    REPLACED = "replaced", _("已被新授权替代")


GRANT_MOVES: dict[GrantState, frozenset[GrantState]] = {
    GrantState.ACTIVE: frozenset({GrantState.SUSPENDED, GrantState.EXPIRED, GrantState.REVOKED, GrantState.REPLACED}),
    GrantState.SUSPENDED: frozenset({GrantState.ACTIVE, GrantState.EXPIRED, GrantState.REVOKED}),
    GrantState.EXPIRED: frozenset(),
    GrantState.REVOKED: frozenset(),
    GrantState.REPLACED: frozenset(),
}


class ChangeState(models.TextChoices):
    """A change of a grant's terms, drafted by the provider's staff, approved by its head."""

    PENDING = "pending", _("待审批")
    APPROVED = "approved", _("已批准")
    REJECTED = "rejected", _("未批准")


CHANGE_MOVES: dict[ChangeState, frozenset[ChangeState]] = {
    ChangeState.PENDING: frozenset({ChangeState.APPROVED, ChangeState.REJECTED}),
    ChangeState.APPROVED: frozenset(),
    ChangeState.REJECTED: frozenset(),
}
