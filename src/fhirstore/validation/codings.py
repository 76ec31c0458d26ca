"""https://hl7.org/fhir/R4/codesystem.html#supplements: codings do not use supplements of code systems."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fhirstore.definitions.core import Definitions
from fhirstore.terminology.supplements import Supplements
from fhirstore.validation.extensions import Located, path_of
from fhirstore.validation.issue_list import IssueList, RelativeIssue


def check_codings(
    core: Definitions, codings: list[Located], resource: Mapping[str, Any], supplements: Supplements
) -> IssueList | None:
    """The errors of codings whose system is a supplement, or whose code only a supplement has. Paths are below the
    resource."""
    errors: list[RelativeIssue] = []
    for coding, trail in codings:
        found = supplements.misuse(coding["system"], coding["code"])
        if found is not None:
            element, text = found
            path = f"{path_of(core, resource, trail)}.{element}"
            errors.append(RelativeIssue("not-found" if element == "system" else "code-invalid", text, path))
    return IssueList(errors) if errors else None
