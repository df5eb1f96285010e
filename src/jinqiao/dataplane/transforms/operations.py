"""The operations by name, and what one transform of an order is built into."""

from collections.abc import Mapping
from typing import Any

from jinqiao.dataplane.errors import TransformUnknown
from jinqiao.dataplane.transforms import dates, identity, numbers
from jinqiao.dataplane.transforms import texts as on_texts
from jinqiao.dataplane.transforms.codes import codes
from jinqiao.dataplane.transforms.making import Asked, Build, Operation
from jinqiao.dataplane.transforms.tokens import TokenKeys, token
from jinqiao.kernel.catalogues import transform_catalogue, wrong_parameter
from jinqiao.kernel.contracts.exchange import Transform, TransformKind
from jinqiao.kernel.contracts.grants import GrantedItem

DERIVATIONS: Mapping[str, Build] = {
    "concat": on_texts.concat,
    "substring": on_texts.substring,
    "replace": on_texts.replace,
    "clean": on_texts.clean,
    "constant": on_texts.constant,
    "coalesce": on_texts.coalesce,
    "split": on_texts.split,
    "date_part": dates.date_part,
    "date_format": dates.date_format,
    "age": dates.age,
    "identity_part": identity.identity_part,
    "arithmetic": numbers.arithmetic,
}


def built(transform: Transform, item: GrantedItem, wanted: Any, keys: TokenKeys | None) -> Operation:
    """The operation that makes an item's value in the Arrow type `wanted`.

    Raises TransformUnknown, TransformParametersWrong, TokenKeyMissing.
    """
    parameters = dict(transform.parameters)
    name = transform.kind.value
    if transform.kind is TransformKind.DERIVE:
        name = str(parameters.pop("operation", ""))
    entry = transform_catalogue().get(name)
    if entry is None or entry["kind"] != transform.kind.value:
        raise TransformUnknown(operation=name)
    asked = Asked(name, item, wanted, parameters)
    wrong = wrong_parameter(entry, parameters)
    if wrong is not None:
        raise asked.wrong(wrong)
    if item.type.value not in entry["makes"]:
        raise asked.wrong(item.type.value)
    if transform.kind is TransformKind.CODES:
        return codes(asked)
    if transform.kind is TransformKind.TOKEN:
        return token(asked, keys)
    return DERIVATIONS[name](asked)
