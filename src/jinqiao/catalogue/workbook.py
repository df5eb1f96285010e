"""The catalogue as the workbook that departments know: taken in, handed out, and sent back with its errors marked."""

from jinqiao.catalogue.workbook_export import annotated, export_entries, neutral, template
from jinqiao.catalogue.workbook_import import ERRORS_KEPT, import_workbook

__all__ = ["ERRORS_KEPT", "annotated", "export_entries", "import_workbook", "neutral", "template"]
