"""Sign-offs: who, in which post, agreed to what; the content by its digest."""

from __future__ import annotations

from django.conf import settings
from django.db import transaction

from jinqiao.accounts.models import Post
from jinqiao.audit import trail
from jinqiao.audit.trail import Subject
from jinqiao.kernel import moments
from jinqiao.kernel.crypto.suites import suite
from jinqiao.workflow.enums import SignOffKind
from jinqiao.workflow.models import SignOff


@transaction.atomic
def sign(
    kind: SignOffKind | str, *, about: Subject, by: Post, approved: bool, opinion: str = "", content: bytes
) -> SignOff:
    """Keep a signature on `content` (the canonical bytes of what is signed). Who may sign is the caller's rule."""
    signed = SignOff.objects.create(
        kind=kind,
        about_type=about.type,
        about_id=about.id,
        post=by,
        person_name=by.person.name,
        organisation_name=by.organisation.name,
        role=by.role,
        opinion=opinion.strip(),
        approved=approved,
        signed_at=moments.now(),
        digest=suite(settings.CRYPTO_SUITE).digest(content).hex(),
    )
    trail.record(
        "workflow.sign_off.sign", by=by.actor, about=about, kind=str(kind), approved=approved, digest=signed.digest
    )
    return signed
