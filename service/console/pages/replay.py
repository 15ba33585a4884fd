"""/console/subscriptions/{id}/replay: how many messages would come again, and then their coming."""

import msgspec
from msgspec import UNSET
from starlette.responses import Response
from starlette.routing import Route

from service.console.form import Form
from service.console.pages import subscription as of
from service.console.pages.local_time import in_utc, of_field
from service.console.visit import Visit, changes, shown
from service.platform.fields import Id
from service.platform.subscriptions import replay, view
from service.platform.subscriptions.replay import Replayed, ReplayForm

ADDRESS = f"{of.ADDRESS}/replay"


class Asked(msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """From where on; nothing before somebody has said it."""

    from_: str | None = msgspec.field(default=None, name="from")
    from_message_id: Id | None = None


@shown
async def show_replay(visit: Visit) -> Response:
    """Asks from where on; told that, counts what would come."""
    id_ = visit.request.path_params["id"]
    asked = visit.query(Asked)
    from_ = None if asked.from_ is None else in_utc(asked.from_, "from")
    body = ReplayForm(
        from_=UNSET if from_ is None else from_,
        from_message_id=UNSET if asked.from_message_id is None else asked.from_message_id,
        dry_run=True,
    )
    subscription = await visit.ask(view.read_subscription, id=id_)
    counted: Replayed | None = None
    if asked != Asked():
        counted = await visit.ask(replay.replay, id=id_, body=body)
    return visit.page(
        "pages/replay.html",
        one=subscription,
        from_=of_field(from_),
        # In full, as what is sent with the form.
        from_told="" if from_ is None else from_.isoformat(),
        from_message_id=asked.from_message_id or "",
        counted=counted,
        may_operate=of.may_operate(visit, subscription),
    )


@changes
async def replay_it(visit: Visit, form: Form) -> Response:
    """Sends them again."""
    body = form.as_(ReplayForm, "from", "fromMessageId")
    replayed = await visit.ask(replay.replay, id=visit.request.path_params["id"], body=body)
    what = "message comes" if replayed.messages == 1 else "messages come"
    said = f"{replayed.messages:,} {what} again, in order and marked as replayed."
    return visit.back(of.address(visit), said)


ROUTES = (
    Route(ADDRESS, show_replay, methods=["GET"]),
    Route(ADDRESS, replay_it, methods=["POST"]),
)
