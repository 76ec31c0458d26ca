"""The relay: sends Appointments to the SAS platform (INT_R03), at least once and in order.

A commit that stores an Appointment of the SAS enqueues a message with it (`outbox`). The durable jobs of
fhirstore deliver the messages (`run`, `send`).
"""
