"""Why a signed call is refused. All answer 401: the caller has not shown who he is."""

from jinqiao.kernel.errors import NotAllowed


class SignatureRefused(NotAllowed):
    """Root of these refusals."""

    code = "signature.refused"
    http_status = 401


class SignatureMissing(SignatureRefused):
    code = "signature.missing"


class SignatureMalformed(SignatureRefused):
    code = "signature.malformed"


class KeyUnknown(SignatureRefused):
    code = "signature.unknown_key"


class SignatureWrong(SignatureRefused):
    code = "signature.wrong"


class OutsideWindow(SignatureRefused):
    code = "signature.outside_window"


class DigestMismatch(SignatureRefused):
    code = "signature.digest_mismatch"


class NonceReplayed(SignatureRefused):
    code = "signature.replayed"
