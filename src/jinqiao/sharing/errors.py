"""Errors of requests and grants. Details hold numbers, codes and names of items: never the values of a row filter."""

from jinqiao.kernel.errors import InvalidInput, NotAllowed, NotFound, WrongState


class EntryNotPublished(WrongState):
    code = "sharing.request.entry_not_published"


class EntryIsOwn(InvalidInput):
    code = "sharing.request.entry_is_own"


class FieldMissing(InvalidInput):
    """A request names 使用依据, 使用场景, 使用范围, 共享方式, 使用时限: 政务数据共享条例 第二十条."""

    code = "sharing.request.field_missing"


class ModeUnknown(InvalidInput):
    code = "sharing.request.mode_unknown"


class PeriodNotInOrder(InvalidInput):
    code = "sharing.request.period_not_in_order"


class ItemsUnknown(InvalidInput):
    code = "sharing.items.unknown"


class ItemsMissing(InvalidInput):
    code = "sharing.items.none_chosen"


class ItemsBeyondRequest(InvalidInput):
    code = "sharing.items.beyond_request"


class ItemsNoLongerPublished(WrongState):
    code = "sharing.items.no_longer_published"


class RowFilterMalformed(InvalidInput):
    code = "sharing.row_filter.malformed"


class RowFilterItemUnknown(InvalidInput):
    code = "sharing.row_filter.item_unknown"


class RowFilterOperatorNotFitting(InvalidInput):
    code = "sharing.row_filter.operator_not_fitting"


class RowFilterValueNotFitting(InvalidInput):
    code = "sharing.row_filter.value_not_fitting"


class MaskUnknown(InvalidInput):
    code = "sharing.mask.unknown"


class MaskNotFitting(InvalidInput):
    """A mask makes text; a number or a date is given whole or not at all."""

    code = "sharing.mask.not_fitting"


class PurposeMissing(InvalidInput):
    code = "sharing.request.purpose_missing"


class CaseNumberNeeded(InvalidInput):
    """Sensitive personal information is queried case by case: 个人信息保护法 第二十八条."""

    code = "sharing.request.case_number_needed"


class LegalBasisNeeded(InvalidInput):
    """What is not shared can only be asked for where a law says so: 政务数据共享条例 第十四条."""

    code = "sharing.request.legal_basis_needed"


class RefusalReasonMissing(InvalidInput):
    """A refusal gives its reason: 政务数据共享条例 第二十一条."""

    code = "sharing.decision.reason_missing"


class DecisionMissing(WrongState):
    code = "sharing.decision.missing"


class ValidityBeyondRequest(InvalidInput):
    code = "sharing.decision.validity_beyond_request"


class PeriodOver(WrongState):
    code = "sharing.request.period_over"


class ReasonMissing(InvalidInput):
    code = "sharing.grant.reason_missing"


class PapersNotNamed(InvalidInput):
    code = "sharing.papers.not_named"


class PapersAlreadyAsked(WrongState):
    """Everything missing is told in one go: 政务数据共享条例 第二十一条."""

    code = "sharing.papers.already_asked"


class ExtensionNotPossible(WrongState):
    code = "sharing.extension.not_possible"


class ExtensionTooLong(InvalidInput):
    code = "sharing.extension.too_long"


class AuthorityMissing(WrongState):
    code = "sharing.extension.authority_missing"


class RequestNotInState(WrongState):
    code = "sharing.request.not_in_state"


class GrantNotInState(WrongState):
    code = "sharing.grant.not_in_state"


class ChangeNotPending(WrongState):
    code = "sharing.change.not_pending"


class ChangeAlreadyPending(WrongState):
    code = "sharing.change.already_pending"


class ChangeWidens(InvalidInput):
    """More than the grant gives needs a new request: 政务数据共享条例 第二十五条."""

    code = "sharing.change.widens"


class GrantTermsImmutable(WrongState):
    code = "sharing.grant.terms_immutable"


class RequestMissing(NotFound):
    code = "sharing.request.not_found"


class GrantMissing(NotFound):
    code = "sharing.grant.not_found"


class RoleMayNot(NotAllowed):
    code = "sharing.role.may_not"


class NotTheConsumer(NotAllowed):
    code = "sharing.request.not_the_consumer"


class NotTheProvider(NotAllowed):
    code = "sharing.request.not_the_provider"


class NotTheAuthority(NotAllowed):
    code = "sharing.extension.not_the_authority"


class OwnDraft(NotAllowed):
    """Nobody approves what he drafted himself: the person counts, not the post."""

    code = "sharing.approval.own_draft"


class PartyToRequest(NotAllowed):
    """Who asked or approved for the consumer does not answer for the provider."""

    code = "sharing.approval.party_to_request"


class FieldTooLong(InvalidInput):
    code = "sharing.request.field_too_long"
