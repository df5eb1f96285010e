"""Binding an entry to the table where its data stands (挂接)."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from django.db import transaction

from jinqiao.accounts.models import Post
from jinqiao.audit import trail
from jinqiao.catalogue.models import CatalogueEntry, DataItem
from jinqiao.exchange import rules
from jinqiao.exchange.actions.rebinding import begin_anew
from jinqiao.exchange.enums import SourceState
from jinqiao.exchange.errors import (
    BindingMissing,
    ColumnUnknown,
    EntryNotPublished,
    ItemUnknown,
    LookupNotBound,
    NotYourSource,
    SourceRetired,
    TransformWrong,
    TypeMismatch,
    WatermarkMissing,
)
from jinqiao.exchange.models import Binding, DataSource
from jinqiao.exchange.queries.terms import fits, table_schema
from jinqiao.kernel import moments
from jinqiao.kernel.catalogues import Entry, transform_catalogue, wrong_parameter
from jinqiao.kernel.contracts.exchange import Transform, TransformKind


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
    Running orders keep the columns that they were given; the next run and the next policy snapshot follow the new binding. With
    another source, table or watermark column the next incremental run brings everything, merged into what is there.
    Raises: EntryNotPublished, TableUnknown, ColumnUnknown, ItemUnknown, TypeMismatch, LookupNotBound, WatermarkMissing,
    BindingWouldDouble, RunAlreadyLive.
    """
    entry = CatalogueEntry.objects.select_for_update(of=("self",)).get(pk=entry.pk)
    rules.check_may_bind(by, entry)
    if source.organisation_id != entry.provider_id:
        raise NotYourSource
    if source.state == SourceState.RETIRED:
        raise SourceRetired(source=source.number)
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
    earlier = Binding.objects.select_related("source__node").filter(entry=entry).first()
    if earlier is not None:
        begin_anew(earlier, by=by, source=source, table=table, watermark_column=watermark_column)
    binding, _made = Binding.objects.update_or_create(
        entry=entry,
        defaults={
            "transforms": _still_fitting(earlier, bound, schema),
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


def _still_fitting(earlier: Binding | None, bound: Mapping[str, str], schema: Collection[str]) -> list[dict[str, Any]]:
    """Transforms of an earlier binding whose item is still bound and whose columns are still there."""
    if earlier is None:
        return []
    return [kept for kept in earlier.transforms if kept["item"] in bound and _columns_of(kept) <= set(schema)]


def _columns_of(transform: Mapping[str, Any]) -> set[str]:
    """Columns of the source that a transform names in its parameters."""
    given = transform.get("parameters", {})
    entry = _entry_of(Transform.from_json(dict(transform)))
    found: set[str] = set()
    for name, parameter in (entry.get("parameters", {}) if entry else {}).items():
        if parameter["type"] == "column" and name in given:
            found.add(str(given[name]))
        elif parameter["type"] == "columns":
            found.update(str(column) for column in given.get(name, ()))
    return found


def _entry_of(transform: Transform) -> Entry | None:
    """The catalogue's entry: by kind, or by the operation of a derivation."""
    catalogue = transform_catalogue()
    name = transform.kind.value
    if transform.kind is TransformKind.DERIVE:
        name = str(transform.parameters.get("operation", ""))
    return catalogue.get(name)


@transaction.atomic
def choose_transforms(entry: CatalogueEntry, *, by: Post, transforms: Sequence[Transform]) -> Binding:
    """Say how items are made from what the source holds, at the provider's node, before checks and masks; replaces what was
    said before. The next run follows it.

    Raises NotYourEntry, BindingMissing, TransformWrong naming the item and the parameter, ColumnUnknown.
    """
    entry = CatalogueEntry.objects.select_for_update(of=("self",)).get(pk=entry.pk)
    rules.check_may_bind(by, entry)
    binding = Binding.objects.select_related("source").filter(entry=entry).first()
    if binding is None:
        raise BindingMissing(entry=str(entry))
    schema = {column.name for column in table_schema(binding.source, binding.table).columns}
    items: set[str] = set()
    for transform in transforms:
        known = _entry_of(transform)
        given = {name: value for name, value in transform.parameters.items() if name != "operation"}
        wrong = wrong_parameter(known, given) if known is not None else "operation"
        if transform.item not in binding.columns or transform.item in items:
            wrong = wrong or "item"
        if wrong is not None:
            raise TransformWrong(item=transform.item, parameter=wrong)
        items.add(transform.item)
        if strange := _columns_of(transform.to_json()) - schema:
            raise ColumnUnknown(table=binding.table, column=sorted(strange)[0])
    binding.transforms = [transform.to_json() for transform in transforms]
    binding.save(update_fields=["transforms"])
    trail.record("exchange.binding.transform", by=by.actor, about=trail.subject(entry), items=sorted(items))
    return binding
