from django.apps import AppConfig


class ExchangeConfig(AppConfig):
    name = "jinqiao.exchange"
    label = "exchange"
    verbose_name = "数据流转"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        import jinqiao.exchange.receivers  # noqa: F401 -- importing connects them
