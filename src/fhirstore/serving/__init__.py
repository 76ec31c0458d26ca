"""HTTP connections of a worker process: one thread reads and writes all of them, others answer complete requests.

See docs/adr/0021-connections.md.
"""
