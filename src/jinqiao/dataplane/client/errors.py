"""Why a client has no answer."""

from jinqiao.kernel.errors import InvalidInput, JinqiaoError, Unavailable


class GatewayUnreachable(Unavailable):
    """Details: host, reason."""

    code = "gateway.client.unreachable"


class AnswerNotUnderstood(InvalidInput):
    """Details: host, status."""

    code = "gateway.client.answer_not_understood"


class SecretNotReadable(InvalidInput):
    """Details: file."""

    code = "gateway.client.secret_not_readable"


class KeysNotReadable(InvalidInput):
    """Details: file."""

    code = "gateway.client.keys_not_readable"


class KeyFileNotWritten(InvalidInput):
    """Details: file."""

    code = "gateway.client.key_file_not_written"


class Refused(JinqiaoError):
    """The gateway said no, in its own words: `refusal` is its code, `message` and `mend` are in the language asked for."""

    code = "gateway.client.refused"

    def __init__(
        self, *, refusal: str, status: int, message: str, mend: str, call_id: str, retry_after_s: float | None
    ) -> None:
        super().__init__(code=refusal, status=status, message=message, mend=mend)
        self.refusal = refusal
        self.status = status
        self.message = message
        self.mend = mend
        self.call_id = call_id
        self.retry_after_s = retry_after_s
