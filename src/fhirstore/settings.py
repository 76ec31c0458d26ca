"""All settings with their defaults and meanings.

`settings_load` reads them from the command line, the environment and a configuration file. docs/settings.md lists them
under the same group headings; `tools/check_docs.py` compares the two. A message that refuses a request because of a
limit names the setting.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, fields
from typing import Any, Literal

Policy = Literal["enforce", "warn", "off"]


CONFIDENTIAL = frozenset(("page_secret", "plugin_options"))
"""Settings whose values are never shown."""


def without_password(url: str) -> str:
    """A URL without user and password."""
    return re.sub(r"(?<=//)[^/]*@", "", url)


def shown_value(value: Any) -> str:
    """A value for messages, without passwords of URLs."""
    return without_password(repr(value))


@dataclass(frozen=True, slots=True, repr=False)
class Settings:
    """The settings of one deployment. In the environment, each field is FHIRSTORE_<NAME>."""

    # --- Deployment ---

    store: str = "sqlite:///./fhirstore.db"
    """Store URL: sqlite:///PATH or mongodb://HOST/DATABASE."""
    capability: str = "r4-full"
    """CapabilityStatement: a file, or the name of a built-in one or of one in a package."""
    plugins: tuple[str, ...] = ()
    """Names of installed plugins, or paths of FHIR packages."""
    plugin_options: tuple[str, ...] = ()
    """Options of plugins, PLUGIN.NAME=VALUE. Each plugin declares its own."""
    base_url: str | None = None
    """Base of absolute URLs in responses (https://host/fhir). None: the Host header of each request."""
    allowed_hosts: tuple[str, ...] = ()
    """Further host names in requests, "*.example.org" for those one level below, "*" for all. Others get 421."""
    timezone: str = "Europe/Paris"
    """Time zone of search values that have a time but no offset."""
    cors_origins: tuple[str, ...] = ()
    """Origins allowed by CORS. "*" allows all; empty disables CORS."""

    # --- Validation ---

    validation: Policy = "enforce"
    """Effect of structure and profile errors on writes: reject with 422, store with warnings, or no validation."""
    declared_profiles: Policy = "enforce"
    """The same for the `profile` that the CapabilityStatement declares for a type."""
    claimed_profiles: Policy = "enforce"
    """The same for the profiles in meta.profile."""
    unknown_profiles: Policy = "warn"
    """The same for profiles in meta.profile without a usable definition."""
    stored_profiles: Literal["on", "off"] = "on"
    """Whether profiles and extensions that clients write as StructureDefinitions count, or only those of packages."""
    profile_policies: tuple[str, ...] = ()
    """Exceptions for one type or profile, TYPE=POLICY or CANONICAL=POLICY. They override plugins too."""
    inactive_resources: Literal["refuse", "store"] = "refuse"
    """Resources that ask the server for what it does not do, such as active Subscriptions: refuse them with 422, or
    store them without effect."""
    text_only_severity: Literal["error", "warning"] = "error"
    """Severity of text without a code where a profile requires a code from a value set."""

    # --- Packages ---

    package_folder: str = "./fhirstore-packages"
    """Folder of the installed FHIR packages."""
    packages: tuple[str, ...] = ()
    """Installed packages to load with their dependencies, name or name@version. Empty loads all."""
    package_problems: Literal["warn", "refuse"] = "warn"
    """Faulty definitions in installed packages, and unsupported declarations in their CapabilityStatements: leave them
    out with a warning, or refuse to install them and to start."""
    package_registry: str | None = None
    """Base URL of the registry that `package add NAME@VERSION` downloads from. None: files only."""
    package_timeout_s: float = 30.0
    """Seconds to wait for the package registry."""
    max_package_files: int = 50000
    """Files in one package."""
    max_package_file_bytes: int = 64 * 1024 * 1024
    """Bytes of one file of a package."""
    max_package_bytes: int = 512 * 1024 * 1024
    """Bytes of all files of a package, unpacked; also bytes of one download."""
    max_package_ratio: int = 200
    """Bytes unpacked per byte of the archive."""
    max_package_dependencies: int = 200
    """Packages that one `package add` downloads."""

    # --- Terminology ---

    terminology_server: str | None = None
    """Base URL of a terminology server that is asked for unavailable code systems and value sets."""
    terminology_timeout_s: float = 5.0
    """Seconds to wait for its response. After that the code is not checked, and the issue is a warning."""
    terminology_cache_s: float = 3600.0
    """Seconds for which its responses are cached."""
    terminology_retry_s: float = 30.0
    """Seconds without requests after a failure."""
    max_expansion: int = 10000
    """Codes in one ValueSet expansion; more give 422 too-costly and the advice to page."""
    max_closure_ancestors: int = 200000
    """Ancestors of the codes of a closure table; more give 422 too-costly."""

    # --- Limits ---

    max_body_bytes: int = 32 * 1024 * 1024
    """Bytes of a request body; more give 413."""
    max_response_bytes: int = 64 * 1024 * 1024
    """Bytes of a page of a search or a history, more give 422; and of the response to a batch or transaction, whose
    further reads give 422."""
    max_running_searches: int | None = None
    """Searches and histories that run at once in one worker process; more wait for half a second, then they get 503
    with Retry-After. None: one less than --threads, at least one."""
    max_bundle_entries: int = 5000
    """Entries of a batch or transaction; more give 422."""
    max_nesting: int = 100
    """Nesting depth of JSON; more gives 422."""
    default_count: int = 50
    """Page size of a search without _count."""
    max_count: int = 1000
    """Maximum page size. A larger _count is reduced to it."""
    max_includes: int = 10000
    """Included resources of one page; more give 422."""
    max_matches: int = 20000
    """Matches of a search without paging (a search of a plugin); more give 422."""
    max_url_values: int = 2000
    """Comma-separated values of one search parameter; more give 422."""
    max_search_values: int = 4000
    """Values of all parameters of one search, result parameters included; more give 422."""
    max_value_chars: int = 2000
    """Characters of one value of a search parameter; more give 422."""
    max_scanned_values: int = 50
    """Values with :contains or :above in one search; more give 422. Each is compared with all stored values."""
    total_limit: int = 1000
    """Bundle.total is exact up to this number of matches, unless _total says otherwise."""
    request_timeout_s: float | None = 60.0
    """Seconds after which a request starts no further work: the remaining entries of a batch give 503, and a write that
    keeps conflicting with others gives 409. None: no limit."""
    search_timeout_s: float = 30.0
    """Seconds for one search; more give 503."""
    write_timeout_s: float = 15.0
    """Seconds that a write waits for its turn; more give 503 with Retry-After."""

    # --- Connections ---

    max_connections: int = 1000
    """Connections of one worker process. A further connection takes the place of the one that has waited longest."""
    max_client_connections: int = 256
    """Connections of one client address in one worker process. Addresses in trusted_proxies have no such limit."""
    max_buffered_bytes: int = 1024 * 1024 * 1024
    """Bytes of incomplete bodies and unsent responses of one worker process; large ones are in temporary files. Beyond
    it, the connections that have waited longest are closed."""
    max_head_bytes: int = 64 * 1024
    """Bytes of the request line and the headers; more give 431."""
    tls_handshake_timeout_s: float = 10.0
    """Seconds for a TLS handshake. After that the connection is closed."""
    head_timeout_s: float = 15.0
    """Seconds for the request line and the headers, from the first byte or the opening of the connection; then 408."""
    body_timeout_s: float = 30.0
    """Seconds for a request body, plus one second for each min_transfer_rate bytes; and the longest pause in it. Then
    408."""
    send_timeout_s: float = 30.0
    """Seconds for sending a response, plus one second for each min_transfer_rate bytes; and the longest pause in it.
    Then the connection is closed."""
    min_transfer_rate: int = 16 * 1024
    """Bytes per second that extend body_timeout_s and send_timeout_s."""
    keep_alive_s: float = 75.0
    """Seconds that a connection without a request stays open."""

    # --- Storage engines ---

    mongo_transactions: Literal["auto", "on"] = "auto"
    """auto: check at start-up that MongoDB supports transactions. on: skip the check."""
    cache_bytes: int = 32 * 1024 * 1024
    """Bytes of resources that each process caches in memory (SQLite only). 0 disables the cache."""

    # --- TLS and client certificates ---

    tls_cert: str | None = None
    """PEM file with the server certificate and its intermediate certificates. None: HTTP without TLS."""
    tls_key: str | None = None
    """PEM file with the private key. None: the key is in the file of tls_cert."""
    tls_client: Literal["off", "optional", "required"] = "off"
    """Client certificates: not requested, checked if presented, or required (401 without one)."""
    tls_client_ca: str | None = None
    """PEM file with the authorities that issue client certificates."""
    tls_client_crl: tuple[str, ...] = ()
    """Revocation lists of these authorities, PEM or DER files. Empty: revocation is not checked."""
    tls_client_names: tuple[str, ...] = ()
    """Accepted Common Names; others get 403. Empty accepts all."""
    tls_client_units: tuple[str, ...] = ()
    """Accepted Organizational Units; certificates without any of them get 403. Empty accepts all."""
    client_cert_header: str | None = None
    """Request header in which a proxy passes the client certificate or its subject."""
    trusted_proxies: tuple[str, ...] = ()
    """Addresses or networks (10.0.0.0/8) of the proxies whose headers are trusted."""

    # --- Operation ---

    operator_pages: Literal["loopback", "all", "off"] = "loopback"
    """Who may read /metrics and the pages of plugins: callers on this machine, everybody, or nobody."""
    page_secret: str | None = None
    """Key that signs page tokens. None: a random key, kept in the store."""

    def __repr__(self) -> str:
        """Without secrets and passwords, because representations end up in logs."""
        values = {f.name: getattr(self, f.name) for f in fields(self) if getattr(self, f.name) != f.default}
        shown = {name: "…" if name in CONFIDENTIAL else shown_value(value) for name, value in values.items()}
        return f"Settings({', '.join(f'{name}={value}' for name, value in shown.items())})"

    @classmethod
    def field_names(cls) -> tuple[str, ...]:
        return tuple(f.name for f in fields(cls))
