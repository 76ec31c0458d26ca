"""Which interaction a method and a URL ask for. HTTP requests and Bundle entries use the same table.

https://hl7.org/fhir/R4/http.html#summary
"""

from __future__ import annotations

from fhirstore.interactions.bundle import Bundle
from fhirstore.interactions.capabilities import Capabilities
from fhirstore.interactions.conditional_delete import ConditionalDelete
from fhirstore.interactions.conditional_update import ConditionalUpdate
from fhirstore.interactions.create import Create
from fhirstore.interactions.delete import Delete
from fhirstore.interactions.history import History, InstanceHistory, TypeHistory
from fhirstore.interactions.operation import Operation
from fhirstore.interactions.read import Read
from fhirstore.interactions.routing import Route, Router
from fhirstore.interactions.search import Search, SearchByForm
from fhirstore.interactions.update import Update
from fhirstore.interactions.vread import VRead

ROUTES = (
    Route("GET", "/metadata", Capabilities),
    Route("POST", "", Bundle),
    Route("GET", "/_history", History),
    Route("GET", "/$<operation>", Operation),
    Route("POST", "/$<operation>", Operation),
    Route("GET", "/<type>/$<operation>", Operation),
    Route("POST", "/<type>/$<operation>", Operation),
    Route("GET", "/<type>/<id>/$<operation>", Operation),
    Route("POST", "/<type>/<id>/$<operation>", Operation),
    Route("GET", "/<type>", Search),
    Route("POST", "/<type>/_search", SearchByForm),
    Route("GET", "/<type>/_history", TypeHistory),
    Route("POST", "/<type>", Create),
    Route("PUT", "/<type>", ConditionalUpdate),
    Route("DELETE", "/<type>", ConditionalDelete),
    Route("GET", "/<type>/<id>", Read),
    Route("PUT", "/<type>/<id>", Update),
    Route("DELETE", "/<type>/<id>", Delete),
    Route("GET", "/<type>/<id>/_history", InstanceHistory),
    Route("GET", "/<type>/<id>/_history/<version>", VRead),
)

ROUTER = Router(ROUTES)
