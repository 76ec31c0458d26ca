"""A FHIR client for tests that calls the WSGI interface of an application."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from fhirstore.http.app import make_app
from fhirstore.interactions.server import Server
from fhirstore.interactions.stored_definitions import StoredStructures, make_terminology, questionnaires
from fhirstore.model.indexing import Schema
from fhirstore.search.schema import make_schema
from fhirstore.server import build
from fhirstore.settings import Settings
from fhirstore.terminology.service import Terminology
from support.stores import open_empty

JSON = "application/fhir+json"


@dataclass
class Api:
    """A FHIR client of one application. Paths are relative to the base."""

    app: Flask
    ctx: Server

    def __post_init__(self) -> None:
        self.client: FlaskClient = self.app.test_client()

    def call(self, method: str, path: str, body: Any = None, **headers: str) -> TestResponse:
        data = body if isinstance(body, bytes | str | None) else json.dumps(body)
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        if data is not None:
            sent.setdefault("Content-Type", JSON)
        url = path if path.startswith(("http:", "/")) else f"/fhir/{path}" if path else "/fhir"
        return self.client.open(url, method=method, data=data, headers=sent)

    def get(self, path: str, **headers: str) -> TestResponse:
        return self.call("GET", path, **headers)

    def post(self, path: str, body: Any, **headers: str) -> TestResponse:
        return self.call("POST", path, body, **headers)

    def put(self, path: str, body: Any, **headers: str) -> TestResponse:
        return self.call("PUT", path, body, **headers)

    def delete(self, path: str, **headers: str) -> TestResponse:
        return self.call("DELETE", path, **headers)

    def created(self, resource: dict[str, Any]) -> dict[str, Any]:
        """The resource as stored."""
        answer = self.post(resource["resourceType"], resource)
        assert answer.status_code == 201, answer.text
        return answer.get_json()

    def ids(self, query: str) -> list[str]:
        """The ids of the matches of one page, in order."""
        answer = self.get(query)
        assert answer.status_code == 200, answer.text
        return [e["resource"]["id"] for e in answer.get_json().get("entry", []) if e["search"]["mode"] == "match"]


def issue(answer: TestResponse) -> dict[str, Any]:
    """The first issue of the OperationOutcome of a refusal."""
    outcome = answer.get_json()
    assert outcome["resourceType"] == "OperationOutcome", outcome
    first: dict[str, Any] = outcome["issue"][0]
    assert {"severity", "code", "diagnostics"} <= first.keys()
    return first


def serving(api: Api, type: str, **changed: Any) -> Api:
    """The same server with changed flags of a served type (fields of `ServedType`)."""
    types = api.ctx.registry.types
    registry = replace(api.ctx.registry, types={**types, type: replace(types[type], **changed)})
    ctx = replace(api.ctx, registry=registry)
    return Api(make_app(ctx), ctx)


def patient(family: str = "Martin", **more: Any) -> dict[str, Any]:
    return {"resourceType": "Patient", "name": [{"family": family, "given": ["Anne"]}], **more}


@dataclass(frozen=True)
class Template:
    """A deployment that is built once. `fresh` makes a server for it with an empty store."""

    ctx: Server
    schema: Schema

    @classmethod
    def make(cls, **settings: Any) -> Template:
        with TemporaryDirectory() as folder:
            ctx = build(Settings(store=f"sqlite:///{folder}/template.db", **{"stored_profiles": "off"} | settings))
            ctx.store.close()
        # the store is gone: what is validated with the template itself knows the packages alone
        terms = Terminology(ctx.registry.catalog)
        ctx = replace(ctx, terminology=terms, validator=ctx.validator.with_terminology(terms))
        return cls(ctx, make_schema(ctx.registry, ctx.plugins.compounds()))

    def fresh(self, place: Path | str, **changed: Any) -> Api:
        """place: the path of a SQLite file, or a store URL. All share the compiled profiles, except with the setting
        stored_profiles, which is off by default here."""
        url = place if isinstance(place, str) else f"sqlite:///{place}"
        settings = replace(self.ctx.settings, store=url, **changed)
        store = open_empty(settings, self.schema)
        terminology = make_terminology(settings, self.ctx.registry, store)
        validator = self.ctx.validator.with_terminology(terminology)
        validator = validator.with_questionnaires(questionnaires(store, self.ctx.registry))
        if settings.stored_profiles == "on":
            validator = validator.with_structures(StoredStructures(store, self.ctx.registry))
        ctx = replace(
            self.ctx,
            settings=settings,
            store=store,
            secret=store.secret(),
            terminology=terminology,
            validator=validator,
        )
        return Api(make_app(ctx), ctx)
