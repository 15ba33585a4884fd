"""Every operation of the platform's HTTP API, in one table."""

from dataclasses import replace

from msgspec import Raw

from service.platform import audit, database_refusals, trace
from service.platform.asyncapi import reading as asyncapi
from service.platform.connectors.operations import OPERATIONS as CONNECTORS
from service.platform.dead_letters.operations import OPERATIONS as DEAD_LETTERS
from service.platform.deliveries.operations import OPERATIONS as DELIVERIES
from service.platform.event_types.operations import OPERATIONS as EVENT_TYPES
from service.platform.messages.operations import OPERATIONS as MESSAGES
from service.platform.overview import overview
from service.platform.pages import Page
from service.platform.subscriptions.operations import OPERATIONS as SUBSCRIPTIONS
from service.web.operations.operation import Operation

KEY_DESCRIPTION = (
    "A key made by `outbox-service keys create`; its scopes are some of publish, manage, operate, "
    "read and payloads. One that is limited to channels publishes there alone, and to it there are "
    "no subscriptions but those that read nothing else."
)

TABLE = (
    *MESSAGES,
    Operation(
        method="GET",
        path="/v1/messages/{id}/trace",
        tag="messages",
        run=trace.read_trace,
        scopes=("read",),
        answer=trace.Trace,
    ),
    *SUBSCRIPTIONS,
    *CONNECTORS,
    *DELIVERIES,
    *DEAD_LETTERS,
    *EVENT_TYPES,
    Operation(
        method="GET",
        path="/v1/asyncapi.json",
        tag="event-types",
        run=asyncapi.read_document,
        scopes=("read",),
        query=asyncapi.AsyncApiQuery,
        answer=Raw,
    ),
    Operation(
        method="GET",
        path="/v1/audit",
        tag="audit",
        run=audit.list_audit,
        scopes=("read",),
        query=audit.AuditQuery,
        answer=Page[audit.Entry],
    ),
    Operation(
        method="GET",
        path="/v1/overview",
        tag="stats",
        run=overview.read_overview,
        scopes=("read",),
        answer=overview.Overview,
    ),
)

OPERATIONS = tuple(
    replace(operation, run=database_refusals.as_problems(operation.run)) for operation in TABLE
)
# By the function of the table, for who has no request to the API: the console's pages.
BY_RUN = {listed.run: operation for listed, operation in zip(TABLE, OPERATIONS, strict=True)}
