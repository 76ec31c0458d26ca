"""Plain types that several layers share. This package imports nothing of fhirstore."""
