"""SM2 on the libcrypto that Python itself already links, through ctypes (EVP interface of OpenSSL 3 and later).

No maintained wheel offers SM2. Each call makes and frees its own contexts, so that threads do not meet.
"""

import ctypes
import ctypes.util
import sys
from collections.abc import Callable
from typing import Any

from jinqiao.kernel.crypto.sm2 import PRIVATE_BYTES, PUBLIC_BYTES, USER_IDENTITY

_POINTER = ctypes.c_void_p
_SIZE = ctypes.c_size_t
# SubjectPublicKeyInfo and PKCS #8 of a key on the curve sm2p256v1 (1.2.156.10197.1.301) up to the key's own bytes
_PUBLIC_PREFIX = bytes.fromhex("3059301306072a8648ce3d020106082a811ccf5501822d034200")
_PRIVATE_PREFIX = bytes.fromhex("308187020100301306072a8648ce3d020106082a811ccf5501822d046d306b0201010420")
_PRIVATE_MIDDLE = bytes.fromhex("a144034200")


def _candidates() -> list[str]:
    """Where libcrypto may be, Python's own first: symbols of the extension module's dependencies resolve through it."""
    names: list[str] = []
    try:
        import _hashlib

        names.append(_hashlib.__file__)
    except (ImportError, AttributeError):
        pass
    if sys.platform == "darwin":
        names.append("libcrypto.3.dylib")
    elif sys.platform == "win32":
        names += ["libcrypto-3-x64.dll", "libcrypto-3.dll"]
    else:
        names += ["libcrypto.so.3", "libcrypto.so.4"]
    found = ctypes.util.find_library("crypto")
    return [*names, found] if found else names


def _load() -> ctypes.CDLL:
    for name in _candidates():
        try:
            library = ctypes.CDLL(name)
            _ = library.EVP_PKEY_CTX_new_from_name
        except (OSError, AttributeError):
            continue
        return library
    raise OSError("no libcrypto with the interface of OpenSSL 3")


class OpensslSm2:
    name = "openssl"

    def __init__(self) -> None:
        library = _load()

        def bind(name: str, result: Any, *arguments: Any) -> Callable[..., Any]:
            function = getattr(library, name)
            function.restype, function.argtypes = result, arguments
            return function  # type: ignore[no-any-return]

        integer, text = ctypes.c_int, ctypes.c_char_p
        self._context_by_name = bind("EVP_PKEY_CTX_new_from_name", _POINTER, _POINTER, text, text)
        self._context = bind("EVP_PKEY_CTX_new", _POINTER, _POINTER, _POINTER)
        self._free_context = bind("EVP_PKEY_CTX_free", None, _POINTER)
        self._generate_init = bind("EVP_PKEY_keygen_init", integer, _POINTER)
        self._generate = bind("EVP_PKEY_generate", integer, _POINTER, ctypes.POINTER(_POINTER))
        self._free_key = bind("EVP_PKEY_free", None, _POINTER)
        self._set_identity = bind("EVP_PKEY_CTX_set1_id", integer, _POINTER, text, integer)
        self._sm3 = bind("EVP_sm3", _POINTER)
        self._digest_context = bind("EVP_MD_CTX_new", _POINTER)
        self._free_digest_context = bind("EVP_MD_CTX_free", None, _POINTER)
        self._join = bind("EVP_MD_CTX_set_pkey_ctx", None, _POINTER, _POINTER)
        init = (_POINTER, _POINTER, _POINTER, _POINTER, _POINTER)
        self._sign_init = bind("EVP_DigestSignInit", integer, *init)
        self._sign = bind("EVP_DigestSign", integer, _POINTER, text, ctypes.POINTER(_SIZE), text, _SIZE)
        self._verify_init = bind("EVP_DigestVerifyInit", integer, *init)
        self._verify = bind("EVP_DigestVerify", integer, _POINTER, text, _SIZE, text, _SIZE)
        self._encrypt_init = bind("EVP_PKEY_encrypt_init", integer, _POINTER)
        self._encrypt = bind("EVP_PKEY_encrypt", integer, _POINTER, text, ctypes.POINTER(_SIZE), text, _SIZE)
        self._decrypt_init = bind("EVP_PKEY_decrypt_init", integer, _POINTER)
        self._decrypt = bind("EVP_PKEY_decrypt", integer, _POINTER, text, ctypes.POINTER(_SIZE), text, _SIZE)
        self._read_private = bind("d2i_AutoPrivateKey", _POINTER, _POINTER, ctypes.POINTER(text), ctypes.c_long)
        self._read_public = bind("d2i_PUBKEY", _POINTER, _POINTER, ctypes.POINTER(text), ctypes.c_long)
        self._write_private = bind("i2d_PrivateKey", integer, _POINTER, ctypes.POINTER(_POINTER))
        self._write_public = bind("i2d_PUBKEY", integer, _POINTER, ctypes.POINTER(_POINTER))
        self._check_public = bind("EVP_PKEY_public_check", integer, _POINTER)
        self._clear_errors = bind("ERR_clear_error", None)

    # -- keys

    def generate(self) -> tuple[bytes, bytes]:
        context = self._context_by_name(None, b"SM2", None)
        if not context:
            raise RuntimeError("this OpenSSL has no SM2")
        key = _POINTER()
        try:
            if self._generate_init(context) != 1 or self._generate(context, ctypes.byref(key)) != 1:
                raise RuntimeError("this OpenSSL makes no SM2 keys")
        finally:
            self._free_context(context)
        try:
            # ECPrivateKey (RFC 5915): SEQUENCE, INTEGER 1, OCTET STRING of 32 bytes
            private = self._written(self._write_private, key)[7 : 7 + PRIVATE_BYTES]
            public = self._written(self._write_public, key)[-PUBLIC_BYTES:]
        finally:
            self._free_key(key)
        return private, public

    @staticmethod
    def _written(write: Callable[..., Any], key: Any) -> bytes:
        size = write(key, None)
        buffer = ctypes.create_string_buffer(max(size, 1))
        place = ctypes.cast(buffer, _POINTER)
        if size <= 0 or write(key, ctypes.byref(place)) != size:
            raise RuntimeError("OpenSSL could not write an SM2 key")
        return buffer.raw[:size]

    def _key(self, public: bytes, private: bytes | None = None) -> Any:
        if len(public) != PUBLIC_BYTES or public[0] != 4 or (private is not None and len(private) != PRIVATE_BYTES):
            raise ValueError("not an SM2 key")
        if private is None:
            der, read = _PUBLIC_PREFIX + public, self._read_public
        else:
            der, read = _PRIVATE_PREFIX + private + _PRIVATE_MIDDLE + public, self._read_private
        key = read(None, ctypes.byref(ctypes.c_char_p(der)), len(der))
        if not key:
            self._clear_errors()
            raise ValueError("not an SM2 key")
        return key

    # -- signatures

    def _signing(self, init: Callable[..., Any], key: Any) -> tuple[Any, Any]:
        digest_context, context = self._digest_context(), self._context(key, None)
        # OpenSSL before 4 takes an empty identity unless told; the standard's default must be set.
        self._set_identity(context, USER_IDENTITY, len(USER_IDENTITY))
        self._join(digest_context, context)
        if init(digest_context, None, self._sm3(), None, key) != 1:
            self._free_digest_context(digest_context)
            self._free_context(context)
            raise RuntimeError("this OpenSSL cannot sign with SM2")
        return digest_context, context

    def sign(self, private: bytes, public: bytes, data: bytes) -> bytes:
        key = self._key(public, private)
        try:
            digest_context, context = self._signing(self._sign_init, key)
            try:
                size = _SIZE(128)
                buffer = ctypes.create_string_buffer(128)
                if self._sign(digest_context, buffer, ctypes.byref(size), data, len(data)) != 1:
                    raise RuntimeError("OpenSSL could not sign with SM2")
                return buffer.raw[: size.value]
            finally:
                self._free_digest_context(digest_context)
                self._free_context(context)
        finally:
            self._free_key(key)

    def verify(self, public: bytes, data: bytes, signature: bytes) -> bool:
        key = self._key(public)
        try:
            digest_context, context = self._signing(self._verify_init, key)
            try:
                right: bool = self._verify(digest_context, signature, len(signature), data, len(data)) == 1
            finally:
                self._free_digest_context(digest_context)
                self._free_context(context)
        finally:
            self._free_key(key)
        if not right:
            self._clear_errors()
        return right

    # -- encryption

    def encrypt(self, public: bytes, data: bytes) -> bytes:
        return self._crypt(self._key(public), self._encrypt_init, self._encrypt, data)

    def decrypt(self, private: bytes, public: bytes, data: bytes) -> bytes:
        return self._crypt(self._key(public, private), self._decrypt_init, self._decrypt, data)

    def _crypt(self, key: Any, init: Callable[..., Any], work: Callable[..., Any], data: bytes) -> bytes:
        context = self._context(key, None)
        try:
            size = _SIZE(0)
            if init(context) != 1 or work(context, None, ctypes.byref(size), data, len(data)) != 1:
                raise ValueError("SM2 cannot open or close this")
            buffer = ctypes.create_string_buffer(max(size.value, 1))
            if work(context, buffer, ctypes.byref(size), data, len(data)) != 1:
                raise ValueError("SM2 cannot open or close this")
            return buffer.raw[: size.value]
        finally:
            self._clear_errors()
            self._free_context(context)
            self._free_key(key)
