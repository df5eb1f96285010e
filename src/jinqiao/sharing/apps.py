from django.apps import AppConfig


class SharingConfig(AppConfig):
    name = "jinqiao.sharing"
    label = "sharing"
    verbose_name = "数据共享"
    default_auto_field = "django.db.models.BigAutoField"
