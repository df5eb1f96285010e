"""Where a call came from, as the trail keeps it."""

import ipaddress

from django.conf import settings
from django.http import HttpRequest


def client_address(request: HttpRequest) -> str:
    """The caller's address; a forwarded one is believed only from a trusted proxy."""
    direct = str(request.META.get("REMOTE_ADDR", ""))
    if direct in settings.TRUSTED_PROXIES or not direct:
        forwarded = [part.strip() for part in request.headers.get("X-Forwarded-For", "").split(",") if part.strip()]
        for candidate in reversed(forwarded):
            try:
                address = str(ipaddress.ip_address(candidate))
            except ValueError:
                break
            if address not in settings.TRUSTED_PROXIES:
                return address
    return direct or "127.0.0.1"
