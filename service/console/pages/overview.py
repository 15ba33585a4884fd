"""/console: how all of it does, at a glance."""

from starlette.responses import Response
from starlette.routing import Route

from service.console.visit import HOME, Visit, shown
from service.platform.deliveries import stats
from service.platform.deliveries.stats import StatsQuery


@shown
async def show_overview(visit: Visit) -> Response:
    """Every subscription with what waits for it, the first hundred."""
    found = await visit.ask(stats.list_stats, query=StatsQuery(limit=100))
    return visit.page("pages/overview.html", found=found)


ROUTES = (Route(HOME, show_overview, methods=["GET"]),)
