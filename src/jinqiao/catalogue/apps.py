from django.apps import AppConfig


class CatalogueConfig(AppConfig):
    name = "jinqiao.catalogue"
    label = "catalogue"
    verbose_name = "资源目录"
    default_auto_field = "django.db.models.BigAutoField"
