"""Formats and means of sharing and how they go together (政务信息资源目录编制指南：信息资源格式、共享方式)."""

from jinqiao.catalogue.enums import FormatClass, ItemType, SharingMeans, SharingMeansClass

OTHER_TYPE = "其他"

FORMAT_TYPES: dict[FormatClass, tuple[str, ...]] = {
    FormatClass.DOCUMENT: ("OFD", "wps", "xml", "txt", "doc", "docx", "html", "pdf", "ppt", OTHER_TYPE),
    FormatClass.SPREADSHEET: ("et", "xls", "xlsx", OTHER_TYPE),
    FormatClass.DATABASE: (
        "Dm", "KingbaseES", "access", "dbf", "dbase", "sysbase", "oracle", "sqlServer", "db2", "mysql", "PostgreSQL",
        "MariaDB", "SQLite", OTHER_TYPE,
    ),
    FormatClass.IMAGE: ("jpg", "gif", "bmp", OTHER_TYPE),
    FormatClass.STREAM: ("swf", "rm", "mpg", OTHER_TYPE),
    FormatClass.SELF_DESCRIBING: (),  # any: the provider describes the industry's format in the note
    FormatClass.SERVICE: (),  # any: kind of the interface
}  # fmt: skip
"""Types of each class of format; an empty tuple takes any."""

MEANS_OF_CLASS: dict[SharingMeansClass, tuple[SharingMeans, ...]] = {
    SharingMeansClass.PLATFORM: (SharingMeans.DATABASE, SharingMeans.FILE, SharingMeans.INTERFACE),
    SharingMeansClass.OTHER: (SharingMeans.MAIL, SharingMeans.MEDIUM),
}

_FILE = (SharingMeans.FILE,)
PLATFORM_MEANS_OF_FORMAT: dict[FormatClass, tuple[SharingMeans, ...]] = {
    FormatClass.DOCUMENT: _FILE,
    FormatClass.SPREADSHEET: _FILE,
    FormatClass.DATABASE: (SharingMeans.DATABASE, SharingMeans.INTERFACE),
    FormatClass.IMAGE: _FILE,
    FormatClass.STREAM: _FILE,
    FormatClass.SELF_DESCRIBING: (SharingMeans.FILE, SharingMeans.INTERFACE),
    FormatClass.SERVICE: (SharingMeans.INTERFACE,),
}
"""Means that suit a format where it is shared through the platform; other ways are not checked."""

STRUCTURED: frozenset[FormatClass] = frozenset({FormatClass.DATABASE, FormatClass.SERVICE})
"""Formats whose entries must describe their data items."""

WITH_LENGTH: frozenset[ItemType] = frozenset({ItemType.CHARACTER, ItemType.NUMERIC, ItemType.CURRENCY})
"""Types whose items must state a length."""


def known_type(format_class: str, format_type: str) -> str | None:
    """The type as the list spells it; None where the class does not have it."""
    try:
        types = FORMAT_TYPES[FormatClass(format_class)]
    except ValueError:
        return None
    if not types:
        return format_type
    wanted = format_type.replace(" ", "").casefold()
    return next((name for name in types if name.casefold() == wanted), None)
