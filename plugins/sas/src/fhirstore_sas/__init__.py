"""fhirstore-sas: the French urgent-care access service (Service d'Accès aux Soins) as a plugin of fhirstore."""

from __future__ import annotations

from fhirstore_sas.hooks import (
    before_commit,
    before_validate,
    cli,
    complete_commit,
    conditional_match,
    configuration,
    demo,
    demo_queries,
    health,
    indexes,
    jobs,
    metrics,
    operations,
    packages,
    pages,
    profiles,
    referential_integrity,
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
    "configuration",
    "demo",
    "demo_queries",
    "health",
    "indexes",
    "jobs",
    "metrics",
    "operations",
    "packages",
    "pages",
    "profiles",
    "referential_integrity",
    "rewrite_search",
    "translations",
    "validate",
]
