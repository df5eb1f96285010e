"""Binding an entry to the table where its data stands (挂接)."""

from collections.abc import Mapping, Sequence

from django.db import transaction

from jinqiao.accounts.models import Post
from jinqiao.audit import trail
from jinqiao.catalogue.models import CatalogueEntry, DataItem
from jinqiao.exchange import rules
from jinqiao.exchange.errors import (
    ColumnUnknown,
    EntryNotPublished,
    ItemUnknown,
    LookupNotBound,
    NotYourSource,
    TypeMismatch,
    WatermarkMissing,
)
from jinqiao.exchange.models import Binding, DataSource
from jinqiao.exchange.queries.terms import fits, table_schema
from jinqiao.kernel import moments


@transaction.atomic
def bind_entry(
    entry: CatalogueEntry,
    *,
    by: Post,
    source: DataSource,
    table: str,
    columns: Mapping[str, str],
    key_columns: Sequence[str] = (),
    watermark_column: str = "",
    lookup_items: Sequence[str] = (),
) -> Binding:
    """Say in which column of which table each data item stands; replaces an earlier binding.

    `columns` maps item codes to column names, items may be left out; `key_columns` are columns; `lookup_items` item codes.
    Running orders keep the columns that they were given; the next run and the next policy snapshot follow the new binding.
    Raises: EntryNotPublished, TableUnknown, ColumnUnknown, ItemUnknown, TypeMismatch, LookupNotBound, WatermarkMissing.
    """
    entry = CatalogueEntry.objects.select_for_update(of=("self",)).get(pk=entry.pk)
    rules.check_may_bind(by, entry)
    if source.organisation_id != entry.provider_id:
        raise NotYourSource
    if entry.live_version_id is None or entry.withdrawn_at is not None:
        raise EntryNotPublished
    schema = {column.name: column for column in table_schema(source, table).columns}
    items = {item.code: item for item in DataItem.objects.filter(version_id=entry.live_version_id)}
    bound = {code: column for code, column in columns.items() if column}
    for code, name in bound.items():
        if code not in items:
            raise ItemUnknown(item=code)
        if name not in schema:
            raise ColumnUnknown(table=table, column=name)
        if not fits(items[code].data_type, schema[name].type):
            raise TypeMismatch(
                item=items[code].name,
                item_type=str(items[code].get_data_type_display()),
                column=name,
                column_type=schema[name].type.value,
            )
    for name in (*key_columns, *([watermark_column] if watermark_column else [])):
        if name not in schema:
            raise ColumnUnknown(table=table, column=name)
    if watermark_column and not key_columns:
        raise WatermarkMissing
    for code in lookup_items:
        if code not in bound:
            raise LookupNotBound(item=code)
    binding, _made = Binding.objects.update_or_create(
        entry=entry,
        defaults={
            "source": source,
            "table": table,
            "columns": bound,
            "key_columns": list(dict.fromkeys(key_columns)),
            "watermark_column": watermark_column,
            "lookup_items": list(dict.fromkeys(lookup_items)),
            "bound_by": by,
            "bound_at": moments.now(),
        },
    )
    trail.record(
        "exchange.binding.bind",
        by=by.actor,
        about=trail.subject(entry),
        source=source.number,
        table=table,
        items=len(bound),
    )
    return binding
