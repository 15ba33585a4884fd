"""The event catalogue: what a schema means, once for both processes.

Pure: no SQL is run here and nothing is read. A schema is a JSON Schema of draft 2020-12, as
`schema.parse` gives it.
"""
