"""From a to-do to the page where it is acted on."""

from django.urls import reverse

from jinqiao.web import targets


def test_a_thing_leads_to_its_page():
    assert targets.target_url("sharing.sharingrequest", "7") == reverse("sharing:request", args=[7])


def test_some_kinds_of_to_do_lead_straight_to_the_act():
    assert targets.target_url("sharing.sharingrequest", "7", "sharing.request.reply") == reverse(
        "sharing:decide", args=[7]
    )
    assert targets.target_url("catalogue.entryversion", "7", "catalogue.returned") == reverse(
        "catalogue:edit", args=[7]
    )


def test_a_thing_without_a_page_leads_nowhere():
    assert targets.target_url("moon.crater", "7") == ""
    assert str(targets.heading_of("moon.crater")) == "其他"


def test_an_id_that_the_address_cannot_hold_leads_nowhere():
    assert targets.target_url("sharing.sharingrequest", "x y") == ""
