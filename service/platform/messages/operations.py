"""The operations of messages, each with its path, its scopes and its bodies."""

from service.platform.fields import MAX_MESSAGE_BODY_BYTES
from service.platform.messages import finding, idempotency, messages
from service.web.operations.operation import Operation

MESSAGES = "/v1/messages"
USED_KEY = "The Idempotency-Key was used for another request."

OPERATIONS = (
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
        max_body_bytes=MAX_MESSAGE_BODY_BYTES,
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
)
