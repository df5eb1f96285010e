"""Transforms of columns at the provider's node, before checks and masks: how an item's value is made from the source.

The catalogue (names, words, versions, parameters) is `kernel/texts/transforms.toml`, read by `kernel.catalogues`.

    transformer.py   the transforms of one order, batch by batch
    operations.py    the operations by name; imported where an order transforms something
    making.py        what an operation is built into, and what it gives
    codes.py         code conversion
    texts.py         concat, substring, replace, clean, split, constant, coalesce
    dates.py         date_format, date_part, age
    identity.py      identity_part
    numbers.py       arithmetic, in exact decimals
    tokens.py        pseudonymous tokens, keyed at the node

Everything works on whole columns. A value that an operation cannot make is refused: its row goes into quarantine with the
check `transform`; a value that was made and does not fit the item's type, with the check `type`.
"""

from jinqiao.dataplane.transforms.transformer import Applied, Transformer

__all__ = ["Applied", "Transformer"]
