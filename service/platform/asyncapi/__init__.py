"""GET /v1/asyncapi.json: the event catalogue as an AsyncAPI document, for machines downstream."""
