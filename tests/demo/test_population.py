"""Made-up people are valid, different, and the same every time."""

from itertools import islice

from jinqiao.demo.population import residents
from jinqiao.demo.profile import credit_code
from jinqiao.kernel.identifiers.credit_code import UnifiedSocialCreditCode
from jinqiao.kernel.identifiers.resident_id import ResidentIdentityNumber


def test_every_number_is_valid_and_says_what_the_person_is() -> None:
    for person in residents(2000):
        number = ResidentIdentityNumber.parse(person.number)
        assert number.birth_date == person.born
        assert (int(person.number[16]) % 2 == 1) == (person.sex == "1")


def test_the_same_people_come_every_time_and_no_number_twice() -> None:
    first = list(residents(3000))

    assert first == list(residents(3000))
    assert list(islice(residents(5000), 3000)) == first
    assert len({person.number for person in first}) == 3000


def test_made_up_organisations_have_valid_codes() -> None:
    assert UnifiedSocialCreditCode.parse(credit_code("11620300", "01390001"))
    assert UnifiedSocialCreditCode.parse(credit_code("91620302", "MA000012"))
