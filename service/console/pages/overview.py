"""/console: how all of it does, at a glance, and what an operator should see to."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from starlette.responses import Response
from starlette.routing import Route

from service.console.charts import Sparkline, sparkline
from service.console.minutes import NOTHING, Hour, Minutes
from service.console.visit import HOME, Visit, shown
from service.platform.deliveries import stats
from service.platform.deliveries.stats import Stats, StatsQuery
from service.platform.overview import overview
from service.platform.overview.overview import Overview
from service.problems import Problem

# As many as one look at their numbers may cost: in an outage each has a backlog to be counted.
ROWS = 20


@dataclass(frozen=True)
class Line:
    """One subscription: its figures, and its hour where that is known."""

    stats: Stats
    hour: Hour
    sparkline: Sparkline | None


@dataclass(frozen=True)
class Totals:
    """Of the lines that are shown."""

    delivered_per_second: float
    backlog: int
    oldest_age_seconds: float
    dead_letters: int
    open_breakers: int
    is_more: bool
    are_dead_letters_more: bool


@shown
async def show_overview(visit: Visit) -> Response:
    """Of the whole where the key is not limited; what the database has no time for is left out."""
    query = visit.query(StatsQuery)
    found = await visit.ask(stats.list_stats, query=StatsQuery(limit=ROWS, cursor=query.cursor))
    minutes: Minutes = visit.request.state.minutes
    lines = _lines(found.items, await minutes.now())
    read, fault = await _overview(visit)
    return visit.page(
        "pages/overview.html",
        lines=lines,
        totals=_totals(lines, is_more=bool(found.next_cursor or query.cursor)),
        next_cursor=found.next_cursor,
        overview=read,
        fault=fault,
        now=datetime.now(UTC),
    )


async def _overview(visit: Visit) -> tuple[Overview | None, str]:
    """Or why it can't be told at this moment: the page is needed most when much is wrong."""
    try:
        return await visit.ask(overview.read_overview), ""
    except Problem as problem:
        if problem.status != 503:
            raise
        return None, problem.detail


def _lines(found: list[Stats], hours: Mapping[str, Hour] | None) -> list[Line]:
    lines = []
    for one in found:
        hour = NOTHING if hours is None else hours.get(one.subscription_id, NOTHING)
        lines.append(Line(one, hour, None if hours is None else sparkline(hour)))
    return lines


def _totals(lines: list[Line], *, is_more: bool) -> Totals:
    return Totals(
        delivered_per_second=sum(line.hour.per_second() for line in lines),
        backlog=sum(line.stats.backlog.messages for line in lines),
        oldest_age_seconds=max(
            (line.stats.backlog.oldest_age_seconds for line in lines), default=0
        ),
        dead_letters=sum(line.stats.dead_letters for line in lines),
        open_breakers=sum(line.stats.breaker in ("open", "halfOpen") for line in lines),
        is_more=is_more or any(line.stats.backlog.more for line in lines),
        are_dead_letters_more=is_more
        or any(line.stats.dead_letters >= stats.LOOKED_AT_PER_CURSOR for line in lines),
    )


ROUTES = (Route(HOME, show_overview, methods=["GET"]),)
