"""What can go wrong with catalogue entries, their review, the classification tree, and workbooks.

Errors about one field are also used as findings: collected, counted and shown together, without being raised one by one.
Their details carry `field` (name of the model field), `label` (its word in the form) and, for a data item, `item` (its
position from 1). Values never stand in details.
"""

from collections.abc import Sequence

from jinqiao.kernel.errors import InvalidInput, NotAllowed, NotFound, WrongState

# --- who may ---------------------------------------------------------------------------------------------------------


class NotCompiler(NotAllowed):
    """The post does not compile the catalogue."""

    code = "catalogue.entry.not_compiler"


class NotProvider(NotAllowed):
    """The entry belongs to another organisation. Details: provider."""

    code = "catalogue.entry.not_provider"


class NotReviewer(NotAllowed):
    """The post does not act at this step. Details: role (the one that does)."""

    code = "catalogue.review.not_reviewer"


class OwnWork(NotAllowed):
    """Nobody reviews or signs what they compiled themselves."""

    code = "catalogue.review.own_work"


class NotAuthority(NotAllowed):
    """Only the authority in charge of the provider does this. Details: provider."""

    code = "catalogue.review.not_authority"


class MayNotWithdraw(NotAllowed):
    """A published entry is withdrawn by the provider's administrator or by the authority."""

    code = "catalogue.entry.may_not_withdraw"


class EntryNotFound(NotFound):
    """There is no such entry, or the reader may not see it."""

    code = "catalogue.entry.not_found"


# --- in this state ---------------------------------------------------------------------------------------------------


class VersionNotReady(WrongState):
    """The version is not in a state from which this step goes. Details: state (its word)."""

    code = "catalogue.version.wrong_state"


class RevisionInWork(WrongState):
    """The entry already has a version in work."""

    code = "catalogue.entry.revision_in_work"


class NothingPublished(WrongState):
    """The entry has no published version."""

    code = "catalogue.entry.nothing_published"


class EntryWithdrawn(WrongState):
    """The entry was withdrawn."""

    code = "catalogue.entry.withdrawn"


class HeadSignatureMissing(WrongState):
    """The head did not sign this content."""

    code = "catalogue.publication.head_signature_missing"


class NoAuthority(WrongState):
    """No authority is entered for the provider's region. Details: provider."""

    code = "catalogue.publication.no_authority"


class NodeTaken(InvalidInput):
    """A published entry keeps its class: the code is made of it."""

    code = "catalogue.entry.class_is_fixed"


# --- as handed in ----------------------------------------------------------------------------------------------------


class SecrecyMarked(InvalidInput):
    """A field, a cell or a file name marks its content as secret: it is refused at the door. Details: place."""

    code = "catalogue.secrecy.marked"


class ReasonMissing(InvalidInput):
    """Returning and withdrawing need a reason."""

    code = "catalogue.review.reason_missing"


class Findings(InvalidInput):
    """Several findings at once. Details: count, labels (the first of them, joined); `findings` holds them all."""

    code = "catalogue.entry.not_complete"

    def __init__(self, findings: Sequence[InvalidInput]) -> None:
        self.findings = tuple(findings)
        labels = list(dict.fromkeys(str(finding.details.get("label", "")) for finding in self.findings))
        super().__init__(count=len(self.findings), labels="、".join(label for label in labels[:8] if label))


class AssessmentsMissing(InvalidInput):
    """The head signs only what was assessed for secrecy risk and for personal information. Details: label."""

    code = "catalogue.publication.assessments_missing"


class UnknownField(InvalidInput):
    """A field that an entry or an item does not have. Details: field."""

    code = "catalogue.entry.unknown_field"


class FieldMissing(InvalidInput):
    code = "catalogue.field.missing"


class GradingMissing(InvalidInput):
    """Data classification and grading are part of the catalogue."""

    code = "catalogue.field.grading_missing"


class ValueNotInList(InvalidInput):
    """Details: choices (the values of the list, joined)."""

    code = "catalogue.field.not_in_list"


class TooLong(InvalidInput):
    """Details: limit, length (characters)."""

    code = "catalogue.field.too_long"


class NotANumber(InvalidInput):
    code = "catalogue.field.not_a_number"


class NotADate(InvalidInput):
    code = "catalogue.field.not_a_date"


class DateInFuture(InvalidInput):
    code = "catalogue.field.date_in_future"


class UnusableCharacter(InvalidInput):
    """Control characters cannot be kept."""

    code = "catalogue.field.unusable_character"


class NameIsSystem(InvalidInput):
    """The name names a system, not the data."""

    code = "catalogue.name.is_system"


class NameTaken(InvalidInput):
    """Another entry of the class has the same name, but for spaces and punctuation."""

    code = "catalogue.name.taken"


class FormatMismatch(InvalidInput):
    """Type and class of the format do not match. Details: format_class, choices."""

    code = "catalogue.format.mismatch"


class FormatNoteMissing(InvalidInput):
    code = "catalogue.format.note_missing"


class ConditionMissing(InvalidInput):
    code = "catalogue.sharing.condition_missing"


class BasisMissing(InvalidInput):
    code = "catalogue.sharing.basis_missing"


class BasisNotLaw(InvalidInput):
    """Only a law, an administrative regulation or a decision of the State Council forbids sharing."""

    code = "catalogue.sharing.basis_not_law"


class MeansMissing(InvalidInput):
    code = "catalogue.sharing.means_missing"


class MeansMismatch(InvalidInput):
    """Type and class of the means do not match. Details: choices."""

    code = "catalogue.sharing.means_mismatch"


class MeansFormatMismatch(InvalidInput):
    """The means does not suit the format. Details: choices."""

    code = "catalogue.sharing.means_format_mismatch"


class OpenButNotShared(InvalidInput):
    code = "catalogue.sharing.open_but_not_shared"


class ClassTooHigh(InvalidInput):
    """Entries hang at the ends of the tree: a code needs class, item, category and detail. Details: node."""

    code = "catalogue.entry.class_too_high"


class RelatedCodeMalformed(InvalidInput):
    code = "catalogue.related.malformed"


class ItemsMissing(InvalidInput):
    code = "catalogue.items.missing"


class ItemNameTwice(InvalidInput):
    code = "catalogue.items.name_twice"


class ItemCodeTwice(InvalidInput):
    code = "catalogue.items.code_twice"


class ItemCodeMalformed(InvalidInput):
    """Column and field names: a letter or _, then letters, digits and _."""

    code = "catalogue.items.code_malformed"


class ItemLengthMissing(InvalidInput):
    code = "catalogue.items.length_missing"


class ItemLengthMalformed(InvalidInput):
    code = "catalogue.items.length_malformed"


class ItemScale(InvalidInput):
    code = "catalogue.items.scale"


class PersonalInformationUnderstated(InvalidInput):
    """The entry states less personal information than its items."""

    code = "catalogue.items.personal_information_understated"


# --- classification tree ---------------------------------------------------------------------------------------------


class ClassificationFileUnreadable(InvalidInput):
    """Neither a CSV in UTF-8 or GB 18030 nor a workbook, or without the columns code, name, parent_code."""

    code = "catalogue.classification.file_unreadable"


class ClassificationRefused(Findings):
    """The tree was not taken; each finding names `row` and `column`."""

    code = "catalogue.classification.refused"


class NodeCodeMissing(InvalidInput):
    code = "catalogue.classification.code_missing"


class NodeCodeMalformed(InvalidInput):
    code = "catalogue.classification.code_malformed"


class NodeNameMissing(InvalidInput):
    code = "catalogue.classification.name_missing"


class NodeTextTooLong(InvalidInput):
    """Details: limit."""

    code = "catalogue.classification.too_long"


class NodeCodeTwice(InvalidInput):
    """Details: first_row."""

    code = "catalogue.classification.code_twice"


class NodeParentUnknown(InvalidInput):
    code = "catalogue.classification.parent_unknown"


class NodeParentNotPrefix(InvalidInput):
    """The code does not begin with its parent's."""

    code = "catalogue.classification.parent_not_prefix"


# --- workbooks -------------------------------------------------------------------------------------------------------


class WorkbookTooLarge(InvalidInput):
    """Details: limit_mb."""

    code = "workbook.file.too_large"


class NotAWorkbook(InvalidInput):
    code = "workbook.file.not_a_workbook"


class WorkbookExpandsTooFar(InvalidInput):
    """Unpacked, the file is far larger than a form ever is."""

    code = "workbook.file.expands_too_far"


class FormNotFound(InvalidInput):
    """No sheet has the heads of the form."""

    code = "workbook.form.not_found"


class FormEmpty(InvalidInput):
    code = "workbook.form.empty"


class ColumnsMissing(InvalidInput):
    """Details: columns (names, joined)."""

    code = "workbook.form.columns_missing"


class ColumnsUnknown(InvalidInput):
    """Details: columns (letters, joined)."""

    code = "workbook.form.columns_unknown"


class RowWithoutEntry(InvalidInput):
    """The row belongs to no entry: it names none and none stands above it."""

    code = "workbook.row.without_entry"


class RowsDiffer(InvalidInput):
    """Rows of one entry say different things. Details: label, first_row."""

    code = "workbook.row.differs"


class EntryTwice(InvalidInput):
    """The same entry stands at two places of the sheet. Details: first_row."""

    code = "workbook.entry.twice"


class EntryInReview(InvalidInput):
    code = "workbook.entry.in_review"


class EntryCodeUnknown(InvalidInput):
    code = "workbook.entry.code_unknown"


class ProviderNotOwn(InvalidInput):
    """Details: provider (the own name)."""

    code = "workbook.provider.not_own"


class ProviderCodeDiffers(InvalidInput):
    """Details: provider_code (the registered one)."""

    code = "workbook.provider.code_differs"


class ClassMissing(InvalidInput):
    code = "workbook.class.missing"


class ClassUnknown(InvalidInput):
    code = "workbook.class.unknown"


class ClassAmbiguous(InvalidInput):
    """Details: choices (codes of the classes of that name, joined)."""

    code = "workbook.class.ambiguous"
