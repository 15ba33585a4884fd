"""Every operation of the platform's HTTP API, in one table."""

from dataclasses import replace

from service.platform import database_refusals
from service.platform.dead_letters import dead_letters, redrive
from service.platform.deliveries import attempts, deliveries, stats
from service.platform.messages import idempotency, messages
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
from service.web.operations.operation import Operation

MESSAGES = "/v1/messages"
SUBSCRIPTIONS = "/v1/subscriptions"
SUBSCRIPTION = f"{SUBSCRIPTIONS}/{{id}}"
DEAD_LETTERS = "/v1/dead-letters"

KEY_DESCRIPTION = (
    "A key made by `outbox-service keys create`; its scopes are some of publish, manage, operate "
    "and read. One that is limited to channels publishes there alone, and to it there are no "
    "subscriptions but those that read nothing else."
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
