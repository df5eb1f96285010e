"""What can go wrong with organisations, people, posts and applications."""

from jinqiao.kernel.errors import InvalidInput, NotAllowed, WrongState


class NotAdministrator(NotAllowed):
    """The post is not the administrator who does this. Details: role (the one needed, in words)."""

    code = "accounts.administrator.needed"


class HoldsAnotherAdministrator(NotAllowed):
    """三员 are separated: nobody holds two of them. Details: person, held, wanted."""

    code = "accounts.post.two_administrators"


class AdministratorHasBusiness(NotAllowed):
    """An administrator holds no business role, and the other way round. Details: person, held, wanted."""

    code = "accounts.post.administrator_with_business"


class LastAdministrator(WrongState):
    """The last holder of an administrator's role stays. Details: role."""

    code = "accounts.post.last_administrator"


class PostStands(WrongState):
    """The person already holds this post. Details: person, organisation, role."""

    code = "accounts.post.already_held"


class PostEnded(WrongState):
    """The post has ended before."""

    code = "accounts.post.ended"


class PostDates(InvalidInput):
    """The end of a post lies before its beginning, or in the past. Details: starts_on, ends_on."""

    code = "accounts.post.dates"


class SectionElsewhere(InvalidInput):
    """The section belongs to another organisation."""

    code = "accounts.post.section_elsewhere"


class PersonCannotSignIn(WrongState):
    """The account is closed or has run out. Details: person."""

    code = "accounts.person.ended"


class UsernameTaken(InvalidInput):
    """Details: username."""

    code = "accounts.person.username_taken"


class UsernameMalformed(InvalidInput):
    """A login name is 3 to 60 letters, digits, dots, hyphens, underscores."""

    code = "accounts.person.username_malformed"


class ContractorWithoutEnd(InvalidInput):
    """A contractor's account needs an end date, not in the past."""

    code = "accounts.person.contractor_without_end"


class PasswordWrong(InvalidInput):
    """The present password was not given rightly."""

    code = "accounts.password.wrong"


class PasswordWeak(InvalidInput):
    """The new password is refused. Details: reasons (joined sentences)."""

    code = "accounts.password.weak"


class PasswordSeparated(NotAllowed):
    """One administrator may not take over another's account by resetting its password."""

    code = "accounts.password.separated"


class OrganisationStands(InvalidInput):
    """Another organisation has this credit code or name. Details: name."""

    code = "accounts.organisation.exists"


class OrganisationInUse(WrongState):
    """The organisation cannot be closed while people hold posts there. Details: name, posts."""

    code = "accounts.organisation.in_use"


class AuthorityStands(WrongState):
    """A region has one body in charge of sharing. Details: region, name."""

    code = "accounts.organisation.authority_exists"


class ParentRing(InvalidInput):
    """An organisation cannot stand below itself. Details: name, parent."""

    code = "accounts.organisation.parent_ring"


class RegionStands(InvalidInput):
    """Details: code."""

    code = "accounts.region.exists"


class SectionStands(InvalidInput):
    """Details: name, organisation."""

    code = "accounts.section.exists"


class ApplicationMoveImpossible(WrongState):
    """Details: state, wanted."""

    code = "accounts.application.move_impossible"


class AddressNotNetwork(InvalidInput):
    """Details: address."""

    code = "accounts.application.address"


class FingerprintNotSha256(InvalidInput):
    """Details: fingerprint (of a certificate: public)."""

    code = "accounts.application.fingerprint"


class NationalIdTaken(InvalidInput):
    """Another application has it: the gateway could not tell which of the two calls. Details: national_id."""

    code = "accounts.application.national_id_taken"


class ContactElsewhere(InvalidInput):
    """The contact holds no post at the application's organisation. Details: person, organisation."""

    code = "accounts.application.contact_elsewhere"
