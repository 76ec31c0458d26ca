"""The durable jobs of the plugin."""

from __future__ import annotations

from collections.abc import Mapping

from fhirstore.plugins import JobHandler, PluginJobs, Store
from fhirstore_sas import slot_audit
from fhirstore_sas.relay.run import relay_handler
from fhirstore_sas.relay.settings import relay_settings

PLUGIN = "sas"


def job_handlers(store: Store, options: Mapping[str, str]) -> list[JobHandler]:
    """The handlers of the relay and of the slot audit."""
    return [
        relay_handler(relay_settings(options)),
        slot_audit.slot_audit_handler(store, slot_audit.interval_s(options)),
    ]


def plugin_jobs(store: Store, options: Mapping[str, str]) -> PluginJobs:
    return PluginJobs(PLUGIN, store, job_handlers(store, options))
