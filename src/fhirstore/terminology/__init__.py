"""Code systems, value sets and concept maps, from R4, from packages and from the store.

https://hl7.org/fhir/R4/terminology-service.html. A question that cannot be answered, because a resource is unavailable,
raises `Unresolved` with a text that names the resource. It never counts as a negative answer.
"""
