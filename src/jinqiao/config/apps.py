from django.apps import AppConfig


class ConfigConfig(AppConfig):
    """Holds the management commands: they may know every package."""

    name = "jinqiao.config"
    label = "config"
    verbose_name = "运行"
