"""Every setting, its default and its meaning, in one place; read from keyword arguments, a file, the environment.

A limit that refuses a request is named here, and its message names the setting.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Literal


@dataclass(frozen=True, slots=True)
class Settings:
    """One deployment's settings. Each field is also FHIRSTORE_<NAME> in the environment."""

    store: str = "sqlite:///./fhirstore.db"
    """Store URL: sqlite:///PATH, or mongodb://HOST/DATABASE."""
    mongo_transactions: Literal["auto", "on"] = "auto"
    """auto: at the start MongoDB must show that it has transactions; on: they are taken for granted."""
    capability: str = "r4-full"
    """A CapabilityStatement: a file, or the name of one that comes with fhirstore."""
    plugins: tuple[str, ...] = ()
    """Names of installed plugins, or paths of folders that hold a FHIR package."""
    plugin_options: tuple[str, ...] = ()
    """PLUGIN.NAME=VALUE: options of plugins, which say what there is."""
    package_folder: str = "./fhirstore-packages"
    """Where `fhirstore package add` puts FHIR packages."""
    packages: tuple[str, ...] = ()
    """Installed packages that are used, name or name@version, with what they depend on; empty = all."""
    package_registry: str | None = None
    """Base URL of the registry of FHIR packages that name@version is taken from; None = only files."""
    base_url: str | None = None
    """Base of absolute URLs in answers (http://host/fhir); None = taken from each request's Host."""
    timezone: str = "Europe/Paris"
    """Completes date-times that carry a time but no offset, in searches."""
    validation: Literal["enforce", "warn", "off"] = "enforce"
    """What errors of structure and profiles do on write: refuse (422), pass with warnings, or are not looked for."""
    declared_profiles: Literal["enforce", "warn", "off"] = "enforce"
    """The same, for the `profile` that the statement names on a type."""
    claimed_profiles: Literal["enforce", "warn", "off"] = "enforce"
    """The same, for the profiles in meta.profile."""
    unknown_profiles: Literal["enforce", "warn", "off"] = "warn"
    """A profile in meta.profile that nothing defines, or that is faulty: refuse (422), warn, or nothing."""
    profile_policies: tuple[str, ...] = ()
    """TYPE=POLICY or CANONICAL=POLICY: overrules the above and plugins for a type or a profile."""
    text_only_severity: Literal["error", "warning"] = "error"
    """Text without a code where a profile requires a code of a value set."""
    max_body_bytes: int = 32 * 1024 * 1024
    """Request bodies beyond: 413."""
    max_bundle_entries: int = 5000
    """Entries of a batch or transaction beyond: 422."""
    max_nesting: int = 100
    """JSON nesting beyond: 422."""
    default_count: int = 50
    """Page size without _count."""
    max_count: int = 1000
    """Greatest page size; a larger _count is cut to it."""
    max_includes: int = 10000
    """Included resources of one page beyond: 422 with the advice to ask for fewer."""
    max_matches: int = 20000
    """Matches of an answer that has no pages (searches of plugins) beyond: 422 with the advice to narrow it."""
    max_url_values: int = 2000
    """Values of one parameter joined by commas beyond: 422."""
    max_package_files: int = 50000
    """Files in one FHIR package beyond: refused."""
    max_package_file_bytes: int = 64 * 1024 * 1024
    """One file of a FHIR package beyond: refused."""
    max_package_bytes: int = 512 * 1024 * 1024
    """A FHIR package beyond, unpacked; a download: refused."""
    max_package_ratio: int = 200
    """An archive that unpacks to more than so many times its size: refused."""
    max_package_dependencies: int = 200
    """Packages that one `package add` fetches from the registry beyond: refused."""
    package_timeout_s: float = 30.0
    """The registry of packages does not answer within: given up."""
    terminology_server: str | None = None
    """Base of another terminology server (https://host/fhir), asked for what is not at hand; None = none."""
    terminology_timeout_s: float = 5.0
    """Its answer must come within; else what it was asked for is not checked, with a warning."""
    terminology_cache_s: float = 3600.0
    """How long its answers are kept."""
    terminology_retry_s: float = 30.0
    """How long it is left alone after it did not answer."""
    max_expansion: int = 10000
    """Codes of one ValueSet expansion beyond: 422 too-costly, with the advice to page."""
    total_limit: int = 1000
    """Bundle.total is exact without being asked up to this many matches."""
    search_timeout_s: float = 30.0
    """A search that takes longer: 503."""
    write_timeout_s: float = 15.0
    """A write that cannot begin within: 503 with Retry-After."""
    cache_bytes: int = 32 * 1024 * 1024
    """Resources that each process of the SQLite engine keeps in memory; 0 = none."""
    cors_origins: tuple[str, ...] = ()
    """Origins allowed by CORS; "*" = all; empty = CORS off."""
    tls_cert: str | None = None
    """PEM file of the server's certificate and those between it and its root; None = HTTP without TLS."""
    tls_key: str | None = None
    """PEM file of its key; None = in the file of tls_cert."""
    tls_client: Literal["off", "optional", "required"] = "off"
    """Client certificates: not asked for, heeded where they are presented, or wanted of everybody (else 401)."""
    tls_client_ca: str | None = None
    """PEM file of the authorities that issue client certificates."""
    tls_client_crl: tuple[str, ...] = ()
    """Revocation lists of these authorities, PEM or DER files; empty = revocation is not checked."""
    tls_client_names: tuple[str, ...] = ()
    """Common Names of client certificates that are admitted, else 403; empty = all."""
    tls_client_units: tuple[str, ...] = ()
    """Organizational Units, of which a client certificate has one, else 403; empty = all."""
    client_cert_header: str | None = None
    """Header in which proxies pass the client's certificate or its subject; None = none."""
    trusted_proxies: tuple[str, ...] = ()
    """Addresses or networks (10.0.0.0/8) of proxies whose headers count."""
    operator_pages: Literal["loopback", "all", "off"] = "loopback"
    """Who sees /metrics and the pages of plugins: callers on this machine, everybody, nobody."""
    page_secret: str | None = None
    """Key of paging tokens; None = the store's own."""

    @classmethod
    def field_names(cls) -> tuple[str, ...]:
        return tuple(f.name for f in fields(cls))
