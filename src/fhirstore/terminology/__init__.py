"""Code systems, value sets and concept maps, from R4, from packages and from the store.

https://hl7.org/fhir/R4/terminology-service.html. What cannot be told, because something is not at hand, is never
answered as if it could: it is `Undecided`, with a text that names what is missing.
"""
