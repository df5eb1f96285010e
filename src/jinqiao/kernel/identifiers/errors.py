"""What can be wrong with an identifier. Details say which rule and where, never the value: it may be a person's number."""

from jinqiao.kernel.errors import InvalidInput


class IdentifierInvalid(InvalidInput):
    code = "identifier.not_valid"


class LengthWrong(IdentifierInvalid):
    """Details: kind, wanted, got."""

    code = "identifier.length"


class CharacterWrong(IdentifierInvalid):
    """Details: kind, position (from 1)."""

    code = "identifier.character"


class CheckDigitWrong(IdentifierInvalid):
    """Details: kind."""

    code = "identifier.check_digit"


class PartUnknown(IdentifierInvalid):
    """A part of it is in no code table. Details: kind, part."""

    code = "identifier.part_unknown"


class BirthDateWrong(IdentifierInvalid):
    """The birth date in a resident identity number is no date, or lies ahead."""

    code = "identifier.birth_date"


class DivisionUnknown(IdentifierInvalid):
    """Details: division (a public code)."""

    code = "identifier.division_unknown"


class DivisionWithdrawn(IdentifierInvalid):
    """Withdrawn, and its successor is not known. Details: division, year."""

    code = "identifier.division_withdrawn"


class ResourceCodeWrong(IdentifierInvalid):
    """Details: part, rule set of the profile."""

    code = "identifier.resource_code"


class ProfileUnknown(IdentifierInvalid):
    code = "identifier.profile_unknown"
