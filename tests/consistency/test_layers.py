"""What import-linter cannot see: foreign keys by name, and packages that stand empty."""

from pathlib import Path

from django.apps import apps

import jinqiao

ORDER = ("audit", "accounts", "workflow", "catalogue", "sharing", "exchange")


def test_no_foreign_key_points_to_a_higher_package() -> None:
    for app in ORDER:
        for model in apps.get_app_config(app).get_models():
            for field in model._meta.get_fields():
                target = getattr(field, "related_model", None)
                if field.auto_created or target is None or target._meta.app_label not in ORDER:
                    continue
                assert ORDER.index(target._meta.app_label) <= ORDER.index(app), f"{model.__name__}.{field.name}"


def test_audit_events_keep_values_and_point_nowhere() -> None:
    for model in apps.get_app_config("audit").get_models():
        assert not [field.name for field in model._meta.get_fields() if field.is_relation], model


def test_no_package_is_empty() -> None:
    root = Path(jinqiao.__file__).parent
    empty = [
        str(folder.relative_to(root))
        for folder in root.rglob("*")
        if (folder / "__init__.py").exists()
        and folder.name not in ("migrations", "management", "commands", "templatetags", "fixtures")
        and not [other for other in folder.iterdir() if other.name not in ("__init__.py", "__pycache__")]
    ]
    assert empty == []


def test_no_module_holds_more_than_one_noun_can_carry() -> None:
    root = Path(jinqiao.__file__).parent
    long = {
        str(file.relative_to(root)): lines
        for file in root.rglob("*.py")
        if "migrations" not in file.parts and (lines := len(file.read_text(encoding="utf-8").splitlines())) > 600
    }
    assert long == {}
