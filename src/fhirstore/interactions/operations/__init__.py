"""https://hl7.org/fhir/R4/operations.html: an OperationDefinition and a function are an operation.

`arguments` reads the parameters, `dispatch` finds and calls the function, `answers` gives its result a form; `table`
lists the operations that fhirstore itself can do, one file each.
"""
