"""What a grant means in columns of the provider's table: the terms that travel with orders and policy snapshots."""

from dataclasses import dataclass

from jinqiao.catalogue.enums import ItemType
from jinqiao.catalogue.models import DataItem
from jinqiao.exchange.errors import BindingMissing, ColumnUnknown, ItemUnbound, TableUnknown
from jinqiao.exchange.models import Binding, DataSource, SourceTable
from jinqiao.kernel.contracts.exchange import CheckRule
from jinqiao.kernel.contracts.grants import GrantedItem, GrantTerms, SharingMode
from jinqiao.kernel.contracts.tables import (
    Column,
    Connection,
    Engine,
    LogicalType,
    Mask,
    Operator,
    RowCondition,
    TableSchema,
)
from jinqiao.sharing.models import Grant


def table_schema(source: DataSource, name: str) -> TableSchema:
    """The table as its node listed it last. Raises TableUnknown."""
    table = SourceTable.objects.filter(source=source, name=name).first()
    if table is None:
        raise TableUnknown(table=name, source=source.number)
    return TableSchema.from_json(table.schema)


def binding_of(grant: Grant) -> Binding:
    """Raises BindingMissing."""
    binding = Binding.objects.select_related("source__node", "entry").filter(entry_id=grant.entry_id).first()
    if binding is None:
        raise BindingMissing(entry=str(grant.entry))
    return binding


@dataclass(frozen=True, slots=True)
class BoundTable:
    """A binding with the declared columns of its table."""

    binding: Binding
    columns: dict[str, Column]

    @classmethod
    def of(cls, binding: Binding) -> "BoundTable":
        schema = table_schema(binding.source, binding.table)
        return cls(binding, {column.name: column for column in schema.columns})

    def column(self, item_code: str) -> Column:
        """Raises ItemUnbound, or ColumnUnknown where the table has changed since."""
        name = self.binding.columns.get(item_code)
        if not name:
            raise ItemUnbound(item=item_code)
        column = self.columns.get(name)
        if column is None:
            raise ColumnUnknown(table=self.binding.table, column=name)
        return column


def grant_terms(grant: Grant, table: BoundTable) -> GrantTerms:
    """The grant's items and row filter in columns. Raises where one of them has no column: nothing is left out in silence."""
    return GrantTerms(
        grant_id=grant.number,
        entry_code=grant.entry.code or "",
        provider=grant.provider.credit_code,
        provider_name=grant.provider.name,
        consumer=grant.consumer.credit_code,
        consumer_name=grant.consumer.name,
        mode=SharingMode(grant.mode),
        items=tuple(_granted_item(item, table) for item in grant.items),
        row_filter=tuple(
            RowCondition(
                column=table.column(condition["item"]).name,
                operator=Operator(condition["operator"]),
                values=tuple(str(value) for value in condition["values"]),
            )
            for condition in grant.row_filter
        ),
        purposes=tuple(grant.purposes),
        case_number_required=grant.case_number_required,
        valid_from=grant.valid_from,
        valid_until=grant.valid_until,
    )


def _granted_item(item: dict[str, object], table: BoundTable) -> GrantedItem:
    code = str(item["code"])
    column = table.column(code)
    return GrantedItem(
        item=str(item["name"]),
        code=code,
        column=column.name,
        type=column.type,
        length=column.length,
        precision=column.precision,
        scale=column.scale,
        mask=Mask(str(item.get("mask") or Mask.NONE.value)),
    )


def connection(source: DataSource, *, for_gateway: bool = False) -> Connection:
    """How the node (or the gateway) reaches the source, with the password sealed to it."""
    return Connection(
        engine=Engine(source.engine),
        host=source.host,
        port=source.port,
        database=source.database,
        user=source.user,
        sealed_password=source.gateway_sealed_password if for_gateway else source.sealed_password,
        options=dict(source.options),
    )


_NUMBERS = frozenset({ItemType.NUMERIC, ItemType.CURRENCY, ItemType.DOUBLE, ItemType.INTEGER, ItemType.FLOAT})
_FITTING: dict[ItemType, frozenset[LogicalType]] = {
    **{kind: frozenset({LogicalType.INTEGER, LogicalType.DECIMAL, LogicalType.DOUBLE}) for kind in _NUMBERS},
    ItemType.DATE: frozenset({LogicalType.DATE, LogicalType.DATETIME}),
    ItemType.DATETIME: frozenset({LogicalType.DATE, LogicalType.DATETIME}),
    ItemType.LOGICAL: frozenset({LogicalType.BOOLEAN, LogicalType.INTEGER}),
    ItemType.BLOB: frozenset({LogicalType.BINARY}),
    ItemType.GENERAL: frozenset(LogicalType),
}
_ANY_BUT_BINARY = frozenset(LogicalType) - {LogicalType.BINARY}


def fits(item_type: str, column_type: LogicalType) -> bool:
    """Whether an item of the catalogue may stand in a column. Text columns hold anything (folders of CSV have no other)."""
    if column_type is LogicalType.TEXT:
        return item_type != ItemType.BLOB
    return column_type in _FITTING.get(ItemType(item_type), _ANY_BUT_BINARY)


_IDENTITY_NAMES = ("公民身份号码", "身份证号", "身份证件号码", "居民身份证号码")
_CREDIT_CODE_NAMES = ("统一社会信用代码",)


def holds_person_number(item_name: str) -> bool:
    """Whether an item of this name holds the identity number of a person: disclosures about somebody are found by it."""
    return any(name in item_name for name in _IDENTITY_NAMES)


def derived_checks(items: list[DataItem], granted: set[str]) -> tuple[CheckRule, ...]:
    """Checks that follow from what the catalogue says of the granted items: presence, length, type, check digits."""
    rules: list[CheckRule] = []
    for item in items:
        if item.code not in granted:
            continue
        if item.is_required or item.is_key:
            rules.append(CheckRule(check="required", item=item.code))
        if item.data_type in (ItemType.CHARACTER, ItemType.TEXT) and item.length:
            rules.append(CheckRule(check="length", item=item.code, parameters={"max": item.length}))
        if holds_person_number(item.name):
            rules.append(CheckRule(check="identity_number", item=item.code))
        if any(name in item.name for name in _CREDIT_CODE_NAMES):
            rules.append(CheckRule(check="credit_code", item=item.code))
    return tuple(rules)
