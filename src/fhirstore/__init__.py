"""fhirstore: a FHIR R4 server configured by CapabilityStatements."""

__version__ = "0.1.0"
