"""https://hl7.org/fhir/R4/operations.html: an operation is an OperationDefinition and a function.

`arguments` reads the in parameters, `interactions.operation` calls the function, `answers` renders its result. `table`
lists the built-in operations; each has its own module.
"""
