"""fhirstore-sas: the French urgent-care access service (Service d'Accès aux Soins) as a plugin of fhirstore."""

from __future__ import annotations

from fhirstore_sas.hooks import (
    before_commit,
    before_validate,
    cli,
    complete_commit,
    conditional_match,
    demo,
    demo_queries,
    indexes,
    operations,
    options,
    packages,
    profiles,
    rewrite_search,
    translations,
    validate,
)

__all__ = [
    "before_commit",
    "before_validate",
    "cli",
    "complete_commit",
    "conditional_match",
    "demo",
    "demo_queries",
    "indexes",
    "operations",
    "options",
    "packages",
    "profiles",
    "rewrite_search",
    "translations",
    "validate",
]
