"""The operations of event types, each with its path, its scopes and its bodies."""

from msgspec import Raw

from service.platform.event_types import deletion, registration, validation, view
from service.platform.fields import MAX_MESSAGE_BODY_BYTES
from service.platform.pages import Page, PageQuery
from service.web.operations.ids import EVENT_TYPES, WHOLE_NUMBERS
from service.web.operations.operation import Operation

EVENT_TYPE = "/v1/event-types/{type}"

OPERATIONS = (
    Operation(
        method="PUT",
        path=EVENT_TYPE,
        tag="event-types",
        run=registration.put_event_type,
        scopes=("manage",),
        ids=EVENT_TYPES,
        body=registration.EventTypeForm,
        decoder=None,
        answer=view.EventType,
        creates=True,
        problems={
            409: "The schema breaks what an earlier version promises (`breaks`), the type is "
            "another's, or there is no room for one more."
        },
        max_body_bytes=registration.MAX_BODY_BYTES,
    ),
    Operation(
        method="GET",
        path="/v1/event-types",
        tag="event-types",
        run=view.list_event_types,
        scopes=("read",),
        query=PageQuery,
        answer=Page[view.EventTypeOutline],
    ),
    Operation(
        method="GET",
        path=EVENT_TYPE,
        tag="event-types",
        run=view.read_event_type,
        scopes=("read",),
        ids=EVENT_TYPES,
        answer=view.EventType,
    ),
    Operation(
        method="DELETE",
        path=EVENT_TYPE,
        tag="event-types",
        run=deletion.delete_event_type,
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
        run=view.read_version,
        scopes=("read",),
        ids={"type": EVENT_TYPES, "version": WHOLE_NUMBERS},
        answer=Raw,
    ),
    Operation(
        method="POST",
        path=f"{EVENT_TYPE}/validate",
        tag="event-types",
        run=validation.validate_payload,
        scopes=("read",),
        ids=EVENT_TYPES,
        body=Raw,
        answer=validation.Validation,
        max_body_bytes=MAX_MESSAGE_BODY_BYTES,
    ),
)
