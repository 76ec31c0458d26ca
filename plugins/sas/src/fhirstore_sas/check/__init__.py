"""`fhirstore sas check`: the checks of the official test kit and the rules of the guide, on any endpoint."""
