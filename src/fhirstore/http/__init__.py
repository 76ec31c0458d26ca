"""HTTP: requests become interactions, results become responses."""

REQUEST_ID, LANGUAGE = "fhirstore.request_id", "fhirstore.language"
"""Keys of the identifier and the language of a request in the WSGI environment."""
