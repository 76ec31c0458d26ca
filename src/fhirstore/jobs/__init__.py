"""Durable jobs: work that survives the process that started it (docs/jobs.md, docs/adr/0016).

A queue (`JobQueue`) stores jobs as records of the store, usually in the commit that causes the work. Workers (`Worker`)
of any number of servers claim jobs under a lease, one job per key at a time, and store the outcome.
"""
