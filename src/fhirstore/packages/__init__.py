"""Installed FHIR packages: the folder they live in, what they depend on, the registry they come from."""
