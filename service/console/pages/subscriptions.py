"""/console/subscriptions: every subscription, what waits for it and how fast it goes."""

from datetime import UTC, datetime

from starlette.responses import Response
from starlette.routing import Route

from service.console.visit import Visit, shown
from service.platform.deliveries import stats
from service.platform.deliveries.stats import StatsQuery
from service.platform.fields import Cursor
from service.platform.pages import PageQuery
from service.platform.subscriptions import view

# As many as one look at their numbers may cost.
ROWS = 20


class Asked(PageQuery, frozen=True, kw_only=True):
    """Which page of them."""

    limit: int = ROWS
    cursor: Cursor | None = None


@shown
async def show_subscriptions(visit: Visit) -> Response:
    """By id, a page at a time; each with its numbers, where it was there for both questions."""
    cursor = visit.query(Asked).cursor
    found = await visit.ask(view.list_subscriptions, query=PageQuery(limit=ROWS, cursor=cursor))
    counted = await visit.ask(stats.list_stats, query=StatsQuery(limit=ROWS, cursor=cursor))
    numbers = {one.subscription_id: one for one in counted.items}
    return visit.page(
        "pages/subscriptions.html", found=found, numbers=numbers, now=datetime.now(UTC)
    )


ROUTES = (Route("/console/subscriptions", show_subscriptions, methods=["GET"]),)
