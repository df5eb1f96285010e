"""The WSGI application of the pages and of the control plane's API."""

import ctypes
import os
import signal

from django.core.wsgi import get_wsgi_application

if os.environ.get("JINQIAO_ENDS_WITH_PARENT"):
    # a server's worker process must not outlive a server that was killed outright (Linux: PR_SET_PDEATHSIG)
    ctypes.CDLL(None, use_errno=True).prctl(1, signal.SIGTERM)

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "jinqiao.config.settings")
application = get_wsgi_application()
