"""A plain Django view with a cursor and a pool, and a row of audit; no middleware."""

import hashlib
import os

import django
from django.conf import settings

settings.configure(
    SECRET_KEY="a benchmark",
    ALLOWED_HOSTS=["*"],
    ROOT_URLCONF=__name__,
    DEBUG=False,
    MIDDLEWARE=[],
    LOGGING_CONFIG=None,
    DATABASES={
        "default": {
            "ENGINE": "django.db.backends.postgresql",
            "HOST": os.environ["DATABASE_HOST"],
            "PORT": os.environ["DATABASE_PORT"],
            "USER": os.environ["DATABASE_USER"],
            "PASSWORD": os.environ["DATABASE_PASSWORD"],
            "NAME": os.environ["DATABASE_NAME"],
            "OPTIONS": {"pool": {"min_size": 4, "max_size": 16}},
        }
    },
)
django.setup()

from django.core.wsgi import get_wsgi_application  # noqa: E402
from django.db import connection  # noqa: E402
from django.http import HttpResponse, JsonResponse  # noqa: E402
from django.urls import path  # noqa: E402


def person(request):
    id_no, purpose = request.GET["id_no"], request.headers.get("x-purpose", "")
    digest = hashlib.sha256(request.headers.get("authorization", "")[7:].encode()).hexdigest()
    with connection.cursor() as cursor:
        cursor.execute("SELECT id FROM application WHERE token_digest = %s", (digest,))
        who = cursor.fetchone()
        if who is None:
            return HttpResponse(status=401)
        if purpose not in ("housing", "social"):
            return HttpResponse(status=403)
        cursor.execute(
            "SELECT id_no, name, phone, status FROM person WHERE id_no = %s AND area LIKE '620302%%' LIMIT 2", (id_no,)
        )
        rows = cursor.fetchall()
        cursor.execute(
            "INSERT INTO audit (application_id, asked, purpose, rows) VALUES (%s, %s, %s, %s)",
            (who[0], id_no, purpose, len(rows)),
        )
    shown = [{"id_no": a, "name": b[:1] + "**", "phone": c[:3] + "****" + c[-4:], "status": d} for a, b, c, d in rows]
    return JsonResponse({"data": shown})


urlpatterns = [path("person", person)]
app = get_wsgi_application()
