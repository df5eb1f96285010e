from django.apps import AppConfig


class AccountsConfig(AppConfig):
    name = "jinqiao.accounts"
    label = "accounts"
    verbose_name = "组织与人员"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        import jinqiao.accounts.signals  # noqa: F401 -- connects its receivers once models are loaded
