"""The table of operations: routes, parameters, and the document of the API."""
