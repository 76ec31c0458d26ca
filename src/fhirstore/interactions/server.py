"""The server as interactions see it, built once at start-up and passed in."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol
from zoneinfo import ZoneInfo

from fhirstore.capability.registry import Registry, ServedType
from fhirstore.errors import FhirError, error
from fhirstore.interactions.routing import Router
from fhirstore.model.messages import Message
from fhirstore.plugins.context import PluginContexts
from fhirstore.plugins.hooks import RequestHooks
from fhirstore.plugins.manager import Plugins
from fhirstore.plugins.model import OperationRequest
from fhirstore.settings import IntegrityLevel, Settings
from fhirstore.store.protocol import Store
from fhirstore.terminology.service import Terminology
from fhirstore.validation.validator import ResourceValidator


@dataclass(frozen=True, slots=True)
class OperationHandler:
    """The function of an operation, see `plugins.model.PluginOperation`."""

    run: Callable[[Server, OperationRequest], Mapping[str, Any] | None]
    affects_state: bool = True


class ValidationContext(Protocol):
    """The part of a server that validation needs."""

    @property
    def settings(self) -> Settings: ...
    @property
    def registry(self) -> Registry: ...
    @property
    def hooks(self) -> RequestHooks: ...
    @property
    def validator(self) -> ResourceValidator: ...


@dataclass(frozen=True, slots=True)
class Server:
    """secret: the key of page tokens. started: microseconds since 1970 UTC. operations: by the canonicals of their
    definitions. package_owners: by "Type/id", the package ("name#version") of a stored resource.
    own_base: the configured base of absolute URLs, without a trailing slash; None if each request has its own.
    timezone: of date-times without an offset. contexts: the services of plugins. hooks: those that requests call.
    integrity_level: off, warn or enforce. reference_params: the codes of indexed reference parameters by type, empty if
    the level is off. These are made from the other fields."""

    settings: Settings
    registry: Registry
    store: Store
    plugins: Plugins
    validator: ResourceValidator
    secret: bytes = field(repr=False)
    started: int
    terminology: Terminology
    operations: Mapping[str, OperationHandler] = field(default_factory=dict)
    package_owners: Mapping[str, str] = field(default_factory=dict)
    router: Router = field(default_factory=lambda: Router(()))
    own_base: str | None = field(init=False)
    timezone: ZoneInfo = field(init=False)
    contexts: PluginContexts = field(init=False)
    hooks: RequestHooks = field(init=False)
    integrity_level: IntegrityLevel = field(init=False)
    reference_params: Mapping[str, tuple[str, ...]] = field(init=False)

    def __post_init__(self) -> None:
        base = self.settings.base_url
        object.__setattr__(self, "own_base", base.rstrip("/") if base else None)
        object.__setattr__(self, "timezone", ZoneInfo(self.settings.timezone))
        contexts = self.plugins.contexts(self.settings.plugin_options, self.registry, self.store)
        object.__setattr__(self, "contexts", contexts)
        object.__setattr__(self, "hooks", self.plugins.request_hooks(contexts))
        level = self.settings.referential_integrity or self.plugins.integrity_level()
        object.__setattr__(self, "integrity_level", level)
        object.__setattr__(self, "reference_params", {} if level == "off" else _reference_params(self.registry))

    def served_type(self, type: str) -> ServedType:
        """The type, if this deployment serves it. Raises 404."""
        served = self.registry.types.get(type)
        if served is None:
            raise self.not_served(type)
        return served

    def served(self, type: str, interaction: str) -> ServedType:
        """The type, if this deployment serves the interaction on it. Raises 404 or 405."""
        served = self.served_type(type)
        if interaction not in served.interactions:
            raise self.not_served(type, interaction)
        return served

    def not_served(self, type: str, interaction: str = "") -> FhirError:
        """The refusal of a type (404) or of an interaction on it (405) that this deployment does not serve."""
        if type in self.registry.types:
            text = Message(
                "The interaction {interaction} is not supported for {type}. [base]/metadata lists the interactions.",
                interaction=interaction,
                type=type,
            )
            return error(405, "not-supported", text)
        if type in self.registry.catalog.core.resource_types:
            text = Message(
                "{type} is not supported by this server. [base]/metadata lists the supported types.", type=type
            )
        else:
            text = Message("{type} is not a FHIR R4 resource type. Names are case-sensitive.", type=repr(type[:80]))
        return error(404, "not-supported", text)


def _reference_params(registry: Registry) -> dict[str, tuple[str, ...]]:
    found = {
        type: tuple(code for code, param in params.items() if param.type == "reference")
        for type, params in registry.indexed_types.items()
    }
    return {type: codes for type, codes in found.items() if codes}
