"""The rules on responses to searches, a module for each part of the response."""

from __future__ import annotations

from fhirstore_sas.check.rules import bundle, networks, people, slots

CHECKS = (*bundle.CHECKS, *slots.CHECKS, *people.CHECKS, *networks.CHECKS)
"""In the order of the reports."""
