"""Settings of worker processes in tests: tables are made from the models, without walking through every migration."""

from jinqiao.config.settings import *  # noqa: F403
from jinqiao.config.settings import INSTALLED_APPS

MIGRATION_MODULES = {name.rpartition(".")[2]: None for name in (*INSTALLED_APPS, "rules")}
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
