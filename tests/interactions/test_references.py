"""Links are rewritten in linear time."""

from __future__ import annotations

from fhirstore.definitions.core import load
from fhirstore.interactions.references import Links, rewrite


def test_a_narrative_of_many_links_is_rewritten_in_one_pass() -> None:
    """Copying the narrative for each link takes minutes."""
    links = Links({"urn:uuid:1": "Patient/1"})
    count = 60_000
    div = '<div xmlns="http://www.w3.org/1999/xhtml">{}</div>'
    resource = {
        "resourceType": "Patient",
        "text": {"status": "generated", "div": div.format('<a href="urn:uuid:1">é</a>' * count)},
    }
    rewrite(load(), resource, links, lambda reference: reference)
    assert resource["text"] == {"status": "generated", "div": div.format('<a href="Patient/1">é</a>' * count)}


def test_links_are_copied_only_for_a_bundle_that_hides_some_of_them() -> None:
    """A Bundle of n Bundles would copy n links n times."""
    links = Links({"urn:uuid:1": "Patient/1", "urn:uuid:2": "Patient/2"})
    assert links.without({"urn:uuid:3", None}) is links
    assert links.without({"urn:uuid:1"}).targets == {"urn:uuid:2": "Patient/2"}
