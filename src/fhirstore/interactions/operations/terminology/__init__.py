"""The operations of https://hl7.org/fhir/R4/terminology-service.html, on `fhirstore.terminology`."""
