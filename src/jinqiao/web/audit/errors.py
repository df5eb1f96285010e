"""What the pages of the trail refuse."""

from jinqiao.kernel.errors import InvalidInput


class TooManyEvents(InvalidInput):
    """More events than one workbook takes. Details: count, most."""

    code = "audit.export.too_many"
