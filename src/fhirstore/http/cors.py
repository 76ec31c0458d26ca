"""CORS by setting: https://fetch.spec.whatwg.org/#http-cors-protocol."""

from __future__ import annotations

from collections.abc import Collection

from flask import Flask, Response, request

METHODS = "GET, HEAD, POST, PUT, DELETE, OPTIONS"
EXPOSED = "ETag, Last-Modified, Location, Content-Location"


def add_cors(app: Flask, origins: tuple[str, ...], excluded: Collection[str]) -> None:
    """Allows requests of browsers from these origins. "*" allows all. excluded: endpoints that no page may read."""

    def add(response: Response) -> Response:
        origin = request.headers.get("Origin")
        if origin is None or request.endpoint in excluded or not ("*" in origins or origin in origins):
            return response
        response.headers["Access-Control-Allow-Origin"] = origin
        response.headers.add("Vary", "Origin")
        response.headers["Access-Control-Expose-Headers"] = EXPOSED
        if request.method == "OPTIONS" and "Access-Control-Request-Method" in request.headers:
            response.headers["Access-Control-Allow-Methods"] = METHODS
            asked = request.headers.get("Access-Control-Request-Headers")
            if asked:
                response.headers["Access-Control-Allow-Headers"] = asked
            response.headers["Access-Control-Max-Age"] = "600"
        return response

    app.after_request(add)
