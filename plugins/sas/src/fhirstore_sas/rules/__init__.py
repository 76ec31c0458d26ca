"""Rules on a single resource, which profiles do not state: shared by `sas check`, by writes and by `$sas-check`.

A rule is a function from a resource, given as a `JsonNode`, to its faults."""
