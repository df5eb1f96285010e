from django.apps import AppConfig


class WorkflowConfig(AppConfig):
    name = "jinqiao.workflow"
    label = "workflow"
    verbose_name = "工作台"
    default_auto_field = "django.db.models.BigAutoField"
