"""Why the gateway does not answer. Details name items, counts and times: never a value that was looked up or found."""

from jinqiao.kernel.errors import InvalidInput, NotAllowed, NotFound, Unavailable, WrongState

# ── the form of a call ──


class PathUnknown(NotFound):
    code = "gateway.request.path_unknown"


class MethodNotOffered(InvalidInput):
    """Details: allowed."""

    code = "gateway.request.method"
    http_status = 405


class HeaderRepeated(InvalidInput):
    """A header that authentication depends on stands there twice. Details: header."""

    code = "gateway.request.header_repeated"


class QueryStringNotTaken(InvalidInput):
    code = "gateway.request.query_string"


class ContentTypeNotTaken(InvalidInput):
    code = "gateway.request.content_type"
    http_status = 415


class BodyTooLarge(InvalidInput):
    """Details: limit_bytes."""

    code = "gateway.request.too_large"
    http_status = 413


class BodyTooSlow(InvalidInput):
    """Details: limit_s."""

    code = "gateway.request.too_slow"
    http_status = 408


class CallerGone(InvalidInput):
    """The caller hung up before its request was whole; nobody reads the answer, the record stays."""

    code = "gateway.request.caller_gone"


class BodyNotJson(InvalidInput):
    """Not strict JSON: wrong encoding, a name given twice, NaN, too deep, or no JSON at all."""

    code = "gateway.request.not_json"


class FieldNotValid(InvalidInput):
    """A field of the call is missing, unknown or not of its form. Details: field."""

    code = "gateway.request.field"


class AcceptNotOffered(InvalidInput):
    """Details: allowed."""

    code = "gateway.request.accept"
    http_status = 406


class FileNotValid(InvalidInput):
    """A file of keys is no CSV in UTF-8 with the key items as its header. Details: line."""

    code = "gateway.request.file"


# ── the caller ──


class AddressNotAllowed(NotAllowed):
    """The application may not call from this address. Details: key_id."""

    code = "gateway.caller.address"


class CertificateNotShown(NotAllowed):
    """The application's calls must come with one of its client certificates. Details: key_id."""

    code = "gateway.caller.certificate"


# ── policy ──


class KeyForSandboxOnly(NotAllowed):
    """The key by which the platform's pages try a service out. Details: key_id."""

    code = "gateway.caller.sandbox_only"


class PolicyMissing(Unavailable):
    """The gateway has not received a policy yet."""

    code = "gateway.policy.missing"


class PolicyExpired(Unavailable):
    """The last policy has run out and the platform could not be reached for a newer one."""

    code = "gateway.policy.expired"


class PolicyRefused(NotAllowed):
    """A policy snapshot is not for this gateway, or older than the one in force. Details: reason."""

    code = "gateway.policy.refused"


class ServiceUnknown(NotFound):
    """There is no such service, or this application may not call it: the caller cannot tell which."""

    code = "gateway.service.unknown"


class ServiceSuspended(NotAllowed):
    code = "gateway.service.suspended"


class OperationNotOffered(NotAllowed):
    """The service answers other kinds of questions. Details: allowed."""

    code = "gateway.service.operation"


class GrantNotLive(NotAllowed):
    """Details: grant, valid_from, valid_until."""

    code = "gateway.grant.not_live"


class ServiceEnded(NotAllowed):
    """Its announced last day is over. Details: ends_on, successor."""

    code = "gateway.service.ended"
    http_status = 410


class OutsideHours(NotAllowed):
    """Details: allowed."""

    code = "gateway.hours.outside"


class PurposeMissing(InvalidInput):
    """Details: allowed."""

    code = "gateway.purpose.missing"


class PurposeNotGranted(NotAllowed):
    """Details: allowed."""

    code = "gateway.purpose.not_granted"


class CaseNumberMissing(InvalidInput):
    code = "gateway.case_number.missing"


class EndUserMissing(InvalidInput):
    code = "gateway.end_user.missing"


class ItemsNotGranted(NotAllowed):
    """More was asked than the grant gives; nothing is answered. Details: allowed."""

    code = "gateway.items.not_granted"


class KeysNotExact(InvalidInput):
    """The look-up must give exactly the key items. Details: wanted."""

    code = "gateway.keys.not_exact"


class KeyNotValid(InvalidInput):
    """A key value is not of the item's type. Details: item, type."""

    code = "gateway.keys.not_valid"


class BatchTooLarge(InvalidInput):
    """Details: allowed."""

    code = "gateway.batch.too_large"


class BatchAnswerTooLarge(InvalidInput):
    """Details: allowed, the number of rows of one answer."""

    code = "gateway.batch.answer_too_large"


class ClaimsNotGranted(NotAllowed):
    """Details: allowed."""

    code = "gateway.claims.not_granted"


class FilterNotAllowed(NotAllowed):
    """Filtering and ordering is for granted, unmasked items that the service opens for it. Details: allowed."""

    code = "gateway.filter.not_allowed"


class FilterNotValid(InvalidInput):
    """A value or an operator does not fit the item. Details: item, type."""

    code = "gateway.filter.not_valid"


class PageTooLarge(InvalidInput):
    """Details: allowed."""

    code = "gateway.page.too_large"


class CursorNotValid(InvalidInput):
    """A cursor is not ours, or of another question."""

    code = "gateway.page.cursor"


class RateExceeded(NotAllowed):
    """Details: limit, retry_after."""

    code = "gateway.rate.exceeded"
    http_status = 429
    retryable = True


class ReceiptsTooMany(NotAllowed):
    """More receipts of one application in a minute than the gateway takes. Details: limit, retry_after."""

    code = "gateway.rate.receipts"
    http_status = 429
    retryable = True


class CallsOfTodayUsed(NotAllowed):
    """Details: limit, left, retry_after."""

    code = "gateway.quota.calls"
    http_status = 429
    retryable = True


class RowsOfTodayUsed(NotAllowed):
    """Details: limit, retry_after."""

    code = "gateway.quota.rows"
    http_status = 429
    retryable = True


# ── too much at once ──


class GatewayOverloaded(Unavailable):
    """More calls are under way than this gateway takes. Details: retry_after."""

    code = "gateway.overload.gateway"


class ServiceOverloaded(NotAllowed):
    """More calls of this service are under way than one service gets. Details: retry_after."""

    code = "gateway.overload.service"
    http_status = 429
    retryable = True


class SourceOverloaded(Unavailable):
    """The data source has more to answer than it can; other sources are not touched by it. Details: retry_after."""

    code = "gateway.overload.source"


class CallTooLong(Unavailable):
    """The call was not answered within its time. Details: limit_s."""

    code = "gateway.overload.deadline"


# ── source ──


class SourceNotReachable(Unavailable):
    code = "gateway.source.unavailable"


class SourceTooSlow(Unavailable):
    code = "gateway.source.timeout"


class SourceNotUsable(Unavailable):
    """The service is set up in a way that cannot work: unknown engine, table or column, or a password this gateway cannot open."""

    code = "gateway.source.not_usable"
    retryable = False


class SourceResting(Unavailable):
    """The department's service failed several times in a row and is left alone for a while. Details: retry_after."""

    code = "gateway.source.resting"


# ── running a gateway ──


class HomeNotPrepared(WrongState):
    """Details: home."""

    code = "gateway.home.not_prepared"


class HomeInUse(WrongState):
    """Another gateway process works in the same home. Details: home."""

    code = "gateway.home.in_use"


class SettingsNotValid(WrongState):
    """Details: name."""

    code = "gateway.settings.not_valid"
