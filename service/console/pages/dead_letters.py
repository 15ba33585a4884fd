"""/console/dead-letters: what was given up, found by what is known of it, and sent again."""

from typing import Literal
from urllib.parse import urlencode

import msgspec
from msgspec import UNSET
from starlette.responses import Response
from starlette.routing import Route

from service.console.form import Form
from service.console.pages.local_time import in_utc, of_field
from service.console.visit import Visit, changes, own_address, shown
from service.platform.dead_letters import dead_letters, redrive
from service.platform.dead_letters.dead_letters import DeadLetterQuery
from service.platform.dead_letters.redrive import Redrive, Redriven
from service.platform.fields import Cursor, EventType, Id, Reason
from service.platform.pages import PageQuery
from service.platform.subscriptions import view
from service.problems import Problem

ADDRESS = "/console/dead-letters"
ROWS = 50
# Of which a page offers a choice, and says the names.
MAX_SUBSCRIPTIONS = 200


class Asked(msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """Filters; `from` and `to` in UTC are about when the message was given up."""

    subscription_id: Id | None = None
    type: EventType | None = None
    reason: Reason | None = None
    state: Literal["dead", "redriven", "delivered", "all"] = "dead"
    from_: str | None = msgspec.field(default=None, name="from")
    to: str | None = None
    cursor: Cursor | None = None

    def query(self) -> DeadLetterQuery:
        """The same as the API is asked. Raises Problem 422."""
        return DeadLetterQuery(
            limit=ROWS,
            cursor=self.cursor,
            subscription_id=self.subscription_id,
            type=self.type,
            reason=self.reason,
            state=None if self.state == "all" else self.state,
            from_=None if self.from_ is None else in_utc(self.from_, "from"),
            to=None if self.to is None else in_utc(self.to, "to"),
        )


@shown
async def show_dead_letters(visit: Visit) -> Response:
    """The newest first, a page at a time; those that wait for a redrive unless others are meant."""
    asked = visit.query(Asked)
    query = asked.query()
    found = await visit.ask(dead_letters.list_dead_letters, query=query)
    known = await visit.ask(view.list_subscriptions, query=PageQuery(limit=MAX_SUBSCRIPTIONS))
    return visit.page(
        "pages/dead_letters.html",
        asked=asked,
        found=found,
        subscriptions=known,
        by_id={one.id: one for one in known.items},
        from_=of_field(query.from_),
        to=of_field(query.to),
        # In full, as what is sent with a form.
        from_told="" if query.from_ is None else query.from_.isoformat(),
        to_told="" if query.to is None else query.to.isoformat(),
        may_redrive=visit.may("manage", "operate"),
    )


@changes
async def redrive_chosen(visit: Visit, form: Form) -> Response:
    """Those whose boxes are ticked, or one."""
    then = own_address(form.text("then"))
    if not (ids := form.all("ids")):
        return visit.back(then, "No dead letter was chosen, so nothing was redriven.")
    body = form.as_(Redrive, ids=ids)
    return _told(visit, then, await visit.ask(redrive.redrive, body=body))


@changes
async def redrive_all(visit: Visit, form: Form) -> Response:
    """All of a subscription that the filter leaves."""
    body = form.as_(Redrive, "subscriptionId", "type", "reason", "from", "to")
    if body.subscription_id is UNSET:
        raise Problem(422, "Choose a subscription, to redrive all of its dead letters.")
    redriven = await visit.ask(redrive.redrive, body=body)
    then = urlencode({"subscriptionId": body.subscription_id, "state": "all"})
    return _told(visit, f"{ADDRESS}?{then}", redriven)


def _told(visit: Visit, then: str, done: Redriven) -> Response:
    if done.redriven == 0:
        return visit.back(then, "Nothing was redriven: what was meant is on its way already.")
    what = "dead letter is" if done.redriven == 1 else "dead letters are"
    said = f"{done.redriven:,} {what} on the way again, in order."
    if done.more:
        said += " More of them wait: redrive all once more."
    return visit.back(then, said)


ROUTES = (
    Route(ADDRESS, show_dead_letters, methods=["GET"]),
    Route(f"{ADDRESS}/redrive", redrive_chosen, methods=["POST"]),
    Route(f"{ADDRESS}/redrive-all", redrive_all, methods=["POST"]),
)
