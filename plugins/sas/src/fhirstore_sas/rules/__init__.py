"""Rules for single resources beyond the profiles, used by `sas check`, by writes and by `$sas-check`.

A rule is a function that takes a resource as `JsonNode` and yields faults."""
