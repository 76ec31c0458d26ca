"""The command `fhirstore sas check`."""

from __future__ import annotations

import locale
import ssl
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import click
from rich.console import Console

from fhirstore.plugins import StartupError, Validator, client_context
from fhirstore_sas.check.client import EndpointClient
from fhirstore_sas.check.languages import LANGUAGES, ReportLanguage
from fhirstore_sas.check.model import CheckReport
from fhirstore_sas.check.reports import FORMATS, show
from fhirstore_sas.check.run import CheckPlan, run
from fhirstore_sas.identifiers import with_prefix
from fhirstore_sas.names import IDNPS_SYSTEM, IDNST_SYSTEM
from fhirstore_sas.searches import CPTS, PS, SOS
from fhirstore_sas.value_formats import is_web_address

_FILE, _OUTPUT = click.Path(exists=True, dir_okay=False), click.Path(dir_okay=False)


def make_group(validator: Callable[[], Validator]) -> click.Group:
    """The command group `fhirstore sas`. validator: returns the validator of profiles."""

    @click.group("sas")
    def sas() -> None:
        """Tools for editors who connect to the SAS."""

    @sas.command("check")
    @click.argument("url")
    @click.option("--rpps", multiple=True, metavar="ID", help="A practitioner with free slots (repeatable)")
    @click.option("--siret", multiple=True, metavar="ID", help="An association of SOS Médecins (repeatable)")
    @click.option("--ps", is_flag=True, help="Send the searches for individual practitioners")
    @click.option("--cpts", is_flag=True, help="Send the searches for practitioners with CPTS")
    @click.option("--sos", is_flag=True, help="Send the searches for SOS Médecins")
    @click.option("--accounts", is_flag=True, help="Create and change regulator accounts (disabled at the end)")
    @click.option("--cert", type=_FILE, help="Client certificate, PEM")
    @click.option("--key", type=_FILE, help="Key of the client certificate, PEM, if in another file")
    @click.option("--cacert", type=_FILE, help="Authorities that verify the certificate of the server, PEM")
    @click.option("--seconds", type=float, default=1.0, show_default=True, help="For a search for one practitioner")
    @click.option("--format", "format", type=click.Choice(tuple(FORMATS)), default="terminal", show_default=True)
    @click.option("--output", type=_OUTPUT, metavar="FILE", help="Instead of standard output")
    @click.option("--lang", type=click.Choice(tuple(LANGUAGES)), help="Of the report  [default: that of the system]")
    def check(url: str, format: str, output: str | None, lang: str | None, **given: Any) -> None:
        """Check the endpoint at URL, the base of a FHIR server, as the platform and the official test kit do.

        The kind of search follows from the identifiers: --ps for --rpps, --sos for --siret. Name it to send other
        searches. Without identifiers, only the checks of --ps that need none are run.
        The check writes only with --accounts.

        Exit status 0: no finding; 1: findings; 2: the check could not run."""
        plan, tls = _plan(url, given), _tls(url, given)
        validate = validator()
        with EndpointClient(url, tls) as client:
            report = run(client, plan, validate, datetime.now(UTC))
        _write(report, LANGUAGES[lang or _language()], format, output)
        if report.findings:
            raise SystemExit(1)

    return sas


def _plan(url: str, given: Mapping[str, Any]) -> CheckPlan:
    if not is_web_address(url):
        raise StartupError(f"{url}: the address of a FHIR server must begin with http:// or https://.")
    practitioners, associations = _prefixed(IDNPS_SYSTEM, given["rpps"]), _prefixed(IDNST_SYSTEM, given["siret"])
    asked = tuple(mode for mode in (PS, CPTS, SOS) if given[mode.name.lower()])
    by_default = (*((PS,) if practitioners or not associations else ()), *((SOS,) if associations else ()))
    return CheckPlan(
        asked or by_default,
        practitioners,
        associations,
        with_accounts=given["accounts"],
        max_seconds=given["seconds"],
        with_certificate=given["cert"] is not None,
        cacert=given["cacert"],
    )


def _tls(url: str, given: Mapping[str, Any]) -> ssl.SSLContext | None:
    if urlsplit(url).scheme == "https":
        return client_context(given["cert"], given["key"], given["cacert"])
    for name in ("cert", "key", "cacert"):
        if given[name] is not None:
            raise StartupError(f"--{name}: has no effect, because {url} does not begin with https://.")
    return None


def _prefixed(system: str, given: tuple[str, ...]) -> tuple[str, ...]:
    """The ids with prefix, without duplicates. Ids of unknown form are unchanged."""
    return tuple(dict.fromkeys(with_prefix(system, one.strip()) or one.strip() for one in given))


def _language() -> str:
    code = (locale.getlocale()[0] or "").partition("_")[0].lower()
    return code if code in LANGUAGES else "en"


def _write(report: CheckReport, language: ReportLanguage, format: str, output: str | None) -> None:
    if output is None and format == "terminal":
        show(report, language, Console(highlight=False))
        return
    # The endpoint may have sent lone surrogates, which cannot be encoded.
    written = FORMATS[format](report, language).encode("utf-8", "replace").decode("utf-8")
    if output is not None:
        try:
            Path(output).write_text(written, encoding="utf-8")
        except OSError as e:
            raise StartupError(f"--output {output}: the file cannot be written: {e}.") from e
    else:
        click.echo(written, nl=False)
