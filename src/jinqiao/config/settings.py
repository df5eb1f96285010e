"""Django settings of the control plane. Each name read from the environment stands in docs/reference/settings.md."""

import secrets
from pathlib import Path

from django.utils.translation import gettext_lazy as _

from jinqiao.config.env import Environment

env = Environment()

PACKAGE = Path(__file__).resolve().parent.parent
CHECKOUT = PACKAGE.parent.parent
HOME = env.path("JINQIAO_HOME", Path.cwd() / "var")
ASSETS = env.path("JINQIAO_ASSETS", CHECKOUT / "node_modules")


def _secret_key() -> str:
    """From the environment, else a key of this installation's own, made once and kept beside its data."""
    given = env.text("JINQIAO_SECRET_KEY")
    if given:
        return given
    file = HOME / "keys" / "session.key"
    if not file.exists():
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch(mode=0o600, exist_ok=True)
        file.write_text(secrets.token_urlsafe(50), encoding="ascii")
    return file.read_text(encoding="ascii")


SECRET_KEY = _secret_key()
DEBUG = env.flag("JINQIAO_DEBUG")
IS_DEMO = env.flag("JINQIAO_DEMO")
ALLOWED_HOSTS = env.words("JINQIAO_HOSTS", "localhost,127.0.0.1,[::1]")
CSRF_TRUSTED_ORIGINS = env.words("JINQIAO_ORIGINS")
PUBLIC_URL = env.text("JINQIAO_PUBLIC_URL", "http://127.0.0.1:8000")
TRUSTED_PROXIES = env.words("JINQIAO_TRUSTED_PROXIES", "127.0.0.1,::1")
SITE_NAME = env.text("JINQIAO_SITE_NAME", "金昌市政务数据共享平台")
REGION_PROFILE = env.text("JINQIAO_REGION_PROFILE", "jinchang")
CRYPTO_SUITE = env.text("JINQIAO_SUITE", "international")

INSTALLED_APPS = [
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "axes",
    "django_filters",
    "django_htmx",
    "rules.apps.AutodiscoverRulesConfig",
    "jinqiao.audit",
    "jinqiao.accounts",
    "jinqiao.workflow",
    "jinqiao.catalogue",
    "jinqiao.sharing",
    "jinqiao.exchange",
    "jinqiao.web",
    "jinqiao.config",
]

MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "jinqiao.web.security.ContentSecurityPolicyMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.locale.LocaleMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.auth.middleware.LoginRequiredMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
    "jinqiao.web.access.PostMiddleware",
    "jinqiao.web.errors.ErrorPagesMiddleware",
    "axes.middleware.AxesMiddleware",
]

ROOT_URLCONF = "jinqiao.config.urls"
WSGI_APPLICATION = "jinqiao.config.wsgi.application"

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [PACKAGE / "web" / "templates"],
        "APP_DIRS": False,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.messages.context_processors.messages",
                "jinqiao.web.shell.context",
            ],
            "builtins": ["django.templatetags.i18n", "django.templatetags.static", "jinqiao.web.templatetags.jinqiao"],
            "loaders": [
                (
                    "django.template.loaders.cached.Loader",
                    ["django.template.loaders.filesystem.Loader", "django.template.loaders.app_directories.Loader"],
                )
            ],
        },
    }
]

DATABASES = {"default": env.database("DATABASE_URL", HOME / "control.db")}
JOBS_DATABASE_URL = env.text("JINQIAO_JOBS_URL", f"sqlite:///{HOME / 'jobs.db'}")
WORKER_NAME = env.text("JINQIAO_WORKER")
WORKER_TAKEOVER_S = env.seconds("JINQIAO_WORKER_TAKEOVER_S", 30.0)
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

AUTH_USER_MODEL = "accounts.Person"
AUTHENTICATION_BACKENDS = ["axes.backends.AxesStandaloneBackend", "jinqiao.accounts.backends.PersonBackend"]
PASSWORD_HASHERS = ["django.contrib.auth.hashers.Argon2PasswordHasher"]
AUTH_PASSWORD_VALIDATORS = [
    {
        "NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator",
        "OPTIONS": {"user_attributes": ("username", "name")},
    },
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator", "OPTIONS": {"min_length": 10}},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
    {"NAME": "django.contrib.auth.password_validation.NumericPasswordValidator"},
]
LOGIN_URL = "login"
LOGIN_REDIRECT_URL = "desk"
LOGOUT_REDIRECT_URL = "login"
SESSION_COOKIE_AGE = 8 * 3600
SESSION_EXPIRE_AT_BROWSER_CLOSE = True
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = PUBLIC_URL.startswith("https://")
SESSION_COOKIE_SAMESITE = CSRF_COOKIE_SAMESITE = "Lax"
CSRF_FAILURE_VIEW = "jinqiao.web.errors.csrf_failure"
SECURE_CONTENT_TYPE_NOSNIFF = True
SECURE_REFERRER_POLICY = "same-origin"
X_FRAME_OPTIONS = "DENY"
SILENCED_SYSTEM_CHECKS: list[str] = []

# Locked by name and address together: one person behind a shared address must not lock out the whole office.
AXES_LOCKOUT_PARAMETERS = [["username", "ip_address"]]
AXES_FAILURE_LIMIT = 5
AXES_COOLOFF_TIME = 0.25  # hours
AXES_RESET_ON_SUCCESS = True
AXES_LOCKOUT_CALLABLE = "jinqiao.web.session.views.locked_out"
AXES_VERBOSE = False
AXES_CLIENT_IP_CALLABLE = "jinqiao.audit.address.client_address"

LANGUAGE_CODE = "zh-hans"
LANGUAGES = [("zh-hans", _("中文")), ("en", "English")]
LOCALE_PATHS = [HOME / "locale"]  # compiled by config.messages from src/jinqiao/locale
TIME_ZONE = "Asia/Shanghai"
USE_TZ = True
USE_I18N = True

STATIC_URL = "/static/"
STATIC_ROOT = HOME / "static"
STATICFILES_DIRS = [  # besides static/ of the app web
    ("vendor/htmx", ASSETS / "htmx.org" / "dist"),
    ("vendor/echarts", ASSETS / "echarts" / "dist"),
]
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {"BACKEND": "whitenoise.storage.CompressedManifestStaticFilesStorage"},
}
MEDIA_ROOT = HOME / "media"
MEDIA_URL = ""  # attachments are only served by views that check who may see them
FILE_UPLOAD_MAX_MEMORY_SIZE = 1024 * 1024
DATA_UPLOAD_MAX_MEMORY_SIZE = 64 * 1024 * 1024
DATA_UPLOAD_MAX_NUMBER_FIELDS = 5000
FILE_UPLOAD_PERMISSIONS = 0o600

MAIL = env.mail("JINQIAO_MAIL", HOME / "mail")
EMAIL_BACKEND, EMAIL_HOST, EMAIL_PORT = MAIL.backend, MAIL.host, MAIL.port
EMAIL_HOST_USER, EMAIL_HOST_PASSWORD = MAIL.user, MAIL.password
EMAIL_USE_SSL, EMAIL_USE_TLS, EMAIL_FILE_PATH = MAIL.is_tls, MAIL.is_starttls, str(MAIL.folder)
EMAIL_TIMEOUT = 10
DEFAULT_FROM_EMAIL = SERVER_EMAIL = env.text("JINQIAO_MAIL_FROM", "jinqiao@localhost")

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"plain": {"format": "%(asctime)s %(levelname)s %(name)s %(message)s"}},
    "handlers": {"console": {"class": "logging.StreamHandler", "formatter": "plain"}},
    "root": {"handlers": ["console"], "level": env.text("JINQIAO_LOG_LEVEL", "WARNING")},
    "loggers": {"jinqiao": {"level": env.text("JINQIAO_LOG_LEVEL", "INFO")}, "axes": {"level": "ERROR"}},
}

RELAY_ROOT = HOME / "relay"
UPLOAD_LIMIT_BYTES = 20 * 1024 * 1024
PAGE_SIZE = 20

env.check()
