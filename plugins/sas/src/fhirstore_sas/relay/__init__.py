"""The relay: what becomes of an Appointment is told to the SAS platform (INT_R03), at least once and in order.

A commit that stores an Appointment of the SAS writes a row of the outbox with it (`outbox`); workers (`run`) send the
rows (`send`), each under a lease, and write down what came of it.
"""
