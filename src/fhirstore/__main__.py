"""`python -m fhirstore`: the command line."""

from fhirstore.cli import main

main(prog_name="fhirstore")
