"""The operations of connectors, and of what inward ones could not enter."""

from service.platform.connectors import change, creation, inward_dead_letters, steps, view
from service.platform.pages import Page, PageQuery
from service.platform.subscriptions import replay
from service.platform.subscriptions.deletion import DeleteQuery
from service.platform.subscriptions.testing import Sent
from service.web.operations.operation import Operation

CONNECTORS = "/v1/connectors"
CONNECTOR = f"{CONNECTORS}/{{id}}"
DEAD_LETTERS = "/v1/inward-dead-letters"

OPERATIONS = (
    Operation(
        method="POST",
        path=CONNECTORS,
        tag="connectors",
        run=creation.create_connector,
        scopes=("operate",),
        body=creation.NewConnector,
        answer=view.Connector,
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
        run=view.list_connectors,
        scopes=("read",),
        query=PageQuery,
        answer=Page[view.Connector],
    ),
    Operation(
        method="GET",
        path=CONNECTOR,
        tag="connectors",
        run=view.read_connector,
        scopes=("read",),
        answer=view.Connector,
    ),
    Operation(
        method="PATCH",
        path=CONNECTOR,
        tag="connectors",
        run=change.change_connector,
        scopes=("operate",),
        body=change.Change,
        decoder=None,
        answer=view.Connector,
        problems={409: "The name is taken, or there is no room for the cluster."},
    ),
    Operation(
        method="DELETE",
        path=CONNECTOR,
        tag="connectors",
        run=steps.delete_connector,
        scopes=("operate",),
        query=DeleteQuery,
        answer=None,
        status=204,
        problems={409: "Messages are undelivered."},
    ),
    Operation(
        method="POST",
        path=f"{CONNECTOR}/pause",
        tag="connectors",
        run=steps.pause_connector,
        scopes=("operate",),
        answer=view.Connector,
    ),
    Operation(
        method="POST",
        path=f"{CONNECTOR}/resume",
        tag="connectors",
        run=steps.resume_connector,
        scopes=("operate",),
        answer=view.Connector,
    ),
    Operation(
        method="POST",
        path=f"{CONNECTOR}/replay",
        tag="connectors",
        run=steps.replay_connector,
        scopes=("operate",),
        body=replay.ReplayForm,
        answer=replay.Replayed,
        problems={409: "The connector is of direction in."},
    ),
    Operation(
        method="POST",
        path=f"{CONNECTOR}/test",
        tag="connectors",
        run=steps.send_test,
        scopes=("operate",),
        answer=Sent,
        status=202,
        problems={409: "The connector is of direction in."},
    ),
    Operation(
        method="GET",
        path=DEAD_LETTERS,
        tag="connectors",
        run=inward_dead_letters.list_inward_dead_letters,
        scopes=("read",),
        query=inward_dead_letters.InwardDeadLetterQuery,
        answer=Page[inward_dead_letters.InwardDeadLetter],
    ),
    Operation(
        method="GET",
        path=f"{DEAD_LETTERS}/{{id}}",
        tag="connectors",
        run=inward_dead_letters.read_inward_dead_letter,
        scopes=("read",),
        answer=inward_dead_letters.WholeInwardDeadLetter,
    ),
    Operation(
        method="POST",
        path=f"{DEAD_LETTERS}/redrive",
        tag="connectors",
        run=inward_dead_letters.redrive_inward_dead_letters,
        scopes=("operate",),
        body=inward_dead_letters.Chosen,
        answer=inward_dead_letters.Redriven,
    ),
    Operation(
        method="POST",
        path=f"{DEAD_LETTERS}/discard",
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
        run=steps.seek_connector,
        scopes=("operate",),
        body=steps.SeekForm,
        answer=view.Connector,
        problems={409: "The connector is not one that takes in a topic."},
    ),
)
