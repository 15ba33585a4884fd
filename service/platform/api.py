"""Every operation of the platform's HTTP API, in one table."""

from dataclasses import replace

from msgspec import Raw

from service.platform import audit, database_refusals, trace
from service.platform.asyncapi import reading as asyncapi
from service.platform.connectors import change as connector_change
from service.platform.connectors import creation as connector_creation
from service.platform.connectors import inward_dead_letters
from service.platform.connectors import steps as connector_steps
from service.platform.connectors import view as connector_view
from service.platform.dead_letters import dead_letters, redrive
from service.platform.deliveries import attempts, deliveries, stats
from service.platform.event_types import deletion as event_type_deletion
from service.platform.event_types import registration as event_type_registration
from service.platform.event_types import validation as event_type_validation
from service.platform.event_types import view as event_type_view
from service.platform.messages import finding, idempotency, messages
from service.platform.overview import overview
from service.platform.pages import Page, PageQuery
from service.platform.subscriptions import (
    change,
    creation,
    deletion,
    pause,
    replay,
    retry,
    secret,
    testing,
    view,
)
from service.web.operations.ids import EVENT_TYPES, WHOLE_NUMBERS
from service.web.operations.operation import Operation

MESSAGES = "/v1/messages"
SUBSCRIPTIONS = "/v1/subscriptions"
SUBSCRIPTION = f"{SUBSCRIPTIONS}/{{id}}"
CONNECTORS = "/v1/connectors"
CONNECTOR = f"{CONNECTORS}/{{id}}"
DEAD_LETTERS = "/v1/dead-letters"
INWARD_DEAD_LETTERS = "/v1/inward-dead-letters"
EVENT_TYPE = "/v1/event-types/{type}"

KEY_DESCRIPTION = (
    "A key made by `outbox-service keys create`; its scopes are some of publish, manage, operate, "
    "read and payloads. One that is limited to channels publishes there alone, and to it there are "
    "no subscriptions but those that read nothing else."
)
BY_KIND = ": `operate` where the subscription is of kind kafka, else `manage`"
USED_KEY = "The Idempotency-Key was used for another request."
NOT_HTTP = "The subscription is not of kind http."

TABLE = (
    Operation(
        method="POST",
        path=MESSAGES,
        tag="messages",
        run=messages.publish_message,
        scopes=("publish",),
        body=messages.MessageForm,
        look=messages.look_at_message,
        answer=messages.Published,
        status=201,
        problems={409: USED_KEY},
        max_body_bytes=messages.MAX_BODY_BYTES,
        request_headers=(idempotency.REQUEST_HEADER,),
    ),
    Operation(
        method="POST",
        path=f"{MESSAGES}/transactional",
        tag="messages",
        run=messages.publish_messages,
        scopes=("publish",),
        body=messages.Batch,
        look=messages.look_at_messages,
        answer=list[messages.Published],
        status=201,
        problems={409: USED_KEY},
        max_body_bytes=messages.MAX_TRANSACTIONAL_BODY_BYTES,
        request_headers=(idempotency.REQUEST_HEADER,),
    ),
    Operation(
        method="GET",
        path=MESSAGES,
        tag="messages",
        run=finding.find_messages,
        scopes=("read",),
        query=finding.MessageQuery,
        answer=finding.Found,
    ),
    Operation(
        method="GET",
        path=f"{MESSAGES}/{{id}}/trace",
        tag="messages",
        run=trace.read_trace,
        scopes=("read",),
        answer=trace.Trace,
    ),
    Operation(
        method="POST",
        path=SUBSCRIPTIONS,
        tag="subscriptions",
        run=creation.create_subscription,
        scopes=("manage",),
        body=creation.SubscriptionForm,
        answer=creation.NewSubscription,
        status=201,
        answer_headers=("Location",),
        problems={409: "The name is taken, or there is no room for the shards."},
    ),
    Operation(
        method="GET",
        path=SUBSCRIPTIONS,
        tag="subscriptions",
        run=view.list_subscriptions,
        scopes=("read",),
        query=PageQuery,
        answer=Page[view.Subscription],
    ),
    Operation(
        method="GET",
        path=SUBSCRIPTION,
        tag="subscriptions",
        run=view.read_subscription,
        scopes=("read",),
        answer=view.Subscription,
    ),
    Operation(
        method="PATCH",
        path=SUBSCRIPTION,
        tag="subscriptions",
        run=change.change_subscription,
        scopes=("manage",),
        body=change.SubscriptionChange,
        answer=view.Subscription,
        problems={409: "The name is taken, or the subscription is not of kind http."},
    ),
    Operation(
        method="DELETE",
        path=SUBSCRIPTION,
        tag="subscriptions",
        run=deletion.delete_subscription,
        scopes=("manage",),
        query=deletion.DeleteQuery,
        answer=None,
        status=204,
        problems={409: "Messages are undelivered, or the subscription is not of kind http."},
    ),
    Operation(
        method="POST",
        path=f"{SUBSCRIPTION}/pause",
        tag="subscriptions",
        run=pause.pause,
        scopes=("manage", "operate"),
        needs=BY_KIND,
        answer=view.Subscription,
    ),
    Operation(
        method="POST",
        path=f"{SUBSCRIPTION}/resume",
        tag="subscriptions",
        run=pause.resume,
        scopes=("manage", "operate"),
        needs=BY_KIND,
        answer=view.Subscription,
    ),
    Operation(
        method="POST",
        path=f"{SUBSCRIPTION}/rotate-secret",
        tag="subscriptions",
        run=secret.rotate_secret,
        scopes=("manage",),
        body=secret.RotationForm,
        body_required=False,
        answer=secret.Secret,
        problems={409: NOT_HTTP},
    ),
    Operation(
        method="POST",
        path=f"{SUBSCRIPTION}/replay",
        tag="subscriptions",
        run=replay.replay,
        scopes=("manage", "operate"),
        needs=BY_KIND,
        body=replay.ReplayForm,
        answer=replay.Replayed,
    ),
    Operation(
        method="POST",
        path=f"{SUBSCRIPTION}/retry",
        tag="subscriptions",
        run=retry.retry,
        scopes=("manage",),
        body=retry.RetryForm,
        body_required=False,
        answer=retry.Retried,
        problems={409: NOT_HTTP},
    ),
    Operation(
        method="POST",
        path=f"{SUBSCRIPTION}/test",
        tag="subscriptions",
        run=testing.send_test,
        scopes=("manage",),
        answer=testing.Sent,
        status=202,
        problems={409: NOT_HTTP},
    ),
    Operation(
        method="POST",
        path=CONNECTORS,
        tag="connectors",
        run=connector_creation.create_connector,
        scopes=("operate",),
        body=connector_creation.NewConnector,
        answer=connector_view.Connector,
        status=201,
        answer_headers=("Location",),
        problems={
            409: "The name is taken, or there is no room for the shards, the cluster or one more "
            "of direction in."
        },
    ),
    Operation(
        method="GET",
        path=CONNECTORS,
        tag="connectors",
        run=connector_view.list_connectors,
        scopes=("read",),
        query=PageQuery,
        answer=Page[connector_view.Connector],
    ),
    Operation(
        method="GET",
        path=CONNECTOR,
        tag="connectors",
        run=connector_view.read_connector,
        scopes=("read",),
        answer=connector_view.Connector,
    ),
    Operation(
        method="PATCH",
        path=CONNECTOR,
        tag="connectors",
        run=connector_change.change_connector,
        scopes=("operate",),
        body=connector_change.Change,
        decoder=None,
        answer=connector_view.Connector,
        problems={409: "The name is taken, or there is no room for the cluster."},
    ),
    Operation(
        method="DELETE",
        path=CONNECTOR,
        tag="connectors",
        run=connector_steps.delete_connector,
        scopes=("operate",),
        query=deletion.DeleteQuery,
        answer=None,
        status=204,
        problems={409: "Messages are undelivered."},
    ),
    Operation(
        method="POST",
        path=f"{CONNECTOR}/pause",
        tag="connectors",
        run=connector_steps.pause_connector,
        scopes=("operate",),
        answer=connector_view.Connector,
    ),
    Operation(
        method="POST",
        path=f"{CONNECTOR}/resume",
        tag="connectors",
        run=connector_steps.resume_connector,
        scopes=("operate",),
        answer=connector_view.Connector,
    ),
    Operation(
        method="POST",
        path=f"{CONNECTOR}/replay",
        tag="connectors",
        run=connector_steps.replay_connector,
        scopes=("operate",),
        body=replay.ReplayForm,
        answer=replay.Replayed,
        problems={409: "The connector is of direction in."},
    ),
    Operation(
        method="POST",
        path=f"{CONNECTOR}/test",
        tag="connectors",
        run=connector_steps.send_test,
        scopes=("operate",),
        answer=testing.Sent,
        status=202,
        problems={409: "The connector is of direction in."},
    ),
    Operation(
        method="GET",
        path="/v1/deliveries",
        tag="deliveries",
        run=deliveries.list_deliveries,
        scopes=("read",),
        query=deliveries.DeliveryQuery,
        answer=Page[deliveries.Delivery],
    ),
    Operation(
        method="GET",
        path="/v1/attempts",
        tag="attempts",
        run=attempts.list_attempts,
        scopes=("read",),
        query=attempts.AttemptQuery,
        answer=Page[attempts.Attempt],
    ),
    Operation(
        method="GET",
        path=DEAD_LETTERS,
        tag="dead-letters",
        run=dead_letters.list_dead_letters,
        scopes=("read",),
        query=dead_letters.DeadLetterQuery,
        answer=Page[dead_letters.DeadLetter],
    ),
    Operation(
        method="GET",
        path=f"{DEAD_LETTERS}/{{id}}",
        tag="dead-letters",
        run=dead_letters.read_dead_letter,
        scopes=("read",),
        answer=dead_letters.WholeDeadLetter,
    ),
    Operation(
        method="POST",
        path=f"{DEAD_LETTERS}/redrive",
        tag="dead-letters",
        run=redrive.redrive,
        scopes=("manage", "operate"),
        needs=BY_KIND,
        body=redrive.Redrive,
        answer=redrive.Redriven,
    ),
    Operation(
        method="GET",
        path=INWARD_DEAD_LETTERS,
        tag="connectors",
        run=inward_dead_letters.list_inward_dead_letters,
        scopes=("read",),
        query=inward_dead_letters.InwardDeadLetterQuery,
        answer=Page[inward_dead_letters.InwardDeadLetter],
    ),
    Operation(
        method="GET",
        path=f"{INWARD_DEAD_LETTERS}/{{id}}",
        tag="connectors",
        run=inward_dead_letters.read_inward_dead_letter,
        scopes=("read",),
        answer=inward_dead_letters.WholeInwardDeadLetter,
    ),
    Operation(
        method="POST",
        path=f"{INWARD_DEAD_LETTERS}/redrive",
        tag="connectors",
        run=inward_dead_letters.redrive_inward_dead_letters,
        scopes=("operate",),
        body=inward_dead_letters.Chosen,
        answer=inward_dead_letters.Redriven,
    ),
    Operation(
        method="POST",
        path=f"{INWARD_DEAD_LETTERS}/discard",
        tag="connectors",
        run=inward_dead_letters.discard_inward_dead_letters,
        scopes=("operate",),
        body=inward_dead_letters.Chosen,
        answer=inward_dead_letters.Discarded,
    ),
    Operation(
        method="POST",
        path=f"{CONNECTOR}/seek",
        tag="connectors",
        run=connector_steps.seek_connector,
        scopes=("operate",),
        body=connector_steps.SeekForm,
        answer=connector_view.Connector,
        problems={409: "The connector is not one that takes in a topic."},
    ),
    Operation(
        method="PUT",
        path=EVENT_TYPE,
        tag="event-types",
        run=event_type_registration.put_event_type,
        scopes=("manage",),
        ids=EVENT_TYPES,
        body=event_type_registration.EventTypeForm,
        answer=event_type_view.EventType,
        creates=True,
        problems={
            409: "The schema breaks what an earlier version promises (`breaks`), the type is "
            "another's, or there is no room for one more."
        },
        max_body_bytes=event_type_registration.MAX_BODY_BYTES,
    ),
    Operation(
        method="GET",
        path="/v1/event-types",
        tag="event-types",
        run=event_type_view.list_event_types,
        scopes=("read",),
        query=PageQuery,
        answer=Page[event_type_view.EventTypeOutline],
    ),
    Operation(
        method="GET",
        path=EVENT_TYPE,
        tag="event-types",
        run=event_type_view.read_event_type,
        scopes=("read",),
        ids=EVENT_TYPES,
        answer=event_type_view.EventType,
    ),
    Operation(
        method="DELETE",
        path=EVENT_TYPE,
        tag="event-types",
        run=event_type_deletion.delete_event_type,
        scopes=("manage",),
        ids=EVENT_TYPES,
        answer=None,
        status=204,
        problems={409: "Messages of the type were published."},
    ),
    Operation(
        method="GET",
        path=f"{EVENT_TYPE}/versions/{{version}}",
        tag="event-types",
        run=event_type_view.read_version,
        scopes=("read",),
        ids={"type": EVENT_TYPES, "version": WHOLE_NUMBERS},
        answer=Raw,
    ),
    Operation(
        method="POST",
        path=f"{EVENT_TYPE}/validate",
        tag="event-types",
        run=event_type_validation.validate_payload,
        scopes=("read",),
        ids=EVENT_TYPES,
        body=Raw,
        answer=event_type_validation.Validation,
        max_body_bytes=messages.MAX_BODY_BYTES,
    ),
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
    Operation(
        method="GET",
        path="/v1/stats",
        tag="stats",
        run=stats.list_stats,
        scopes=("read",),
        query=stats.StatsQuery,
        answer=Page[stats.Stats],
    ),
)

OPERATIONS = tuple(
    replace(operation, run=database_refusals.as_problems(operation.run)) for operation in TABLE
)
# By the function of the table, for who has no request to the API: the console's pages.
BY_RUN = {listed.run: operation for listed, operation in zip(TABLE, OPERATIONS, strict=True)}
