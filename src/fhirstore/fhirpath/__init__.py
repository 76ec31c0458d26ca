"""FHIRPath: one parser and one compiler for search expressions, invariants and discriminators.

https://hl7.org/fhir/R4/fhirpath.html and http://hl7.org/fhirpath/N1/. `coverage` lists every operator and function.
"""
