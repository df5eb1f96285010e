"""The WSGI application of the pages and of the control plane's API."""

import os

from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "jinqiao.config.settings")
application = get_wsgi_application()
