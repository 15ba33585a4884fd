"""/console/subscriptions/{id}: one subscription, what holds it up, and the steps that it takes."""

from dataclasses import dataclass
from datetime import UTC, datetime

import msgspec
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from service.console.charts import Sparkline, sparkline
from service.console.form import Form
from service.console.minutes import NOTHING, Minutes
from service.console.page import NO_STORE
from service.console.pages.settings import told
from service.console.visit import Visit, changes, shown
from service.platform.connectors import steps as connector_steps
from service.platform.connectors import view as connector_view
from service.platform.connectors.view import Connector
from service.platform.deliveries import attempts, deliveries, stats
from service.platform.deliveries.attempts import AttemptQuery
from service.platform.deliveries.deliveries import Delivery, DeliveryQuery
from service.platform.deliveries.stats import Stats, StatsQuery
from service.platform.subscriptions import pause, retry, secret, testing, view
from service.platform.subscriptions.retry import RetryForm
from service.platform.subscriptions.secret import RotationForm
from service.platform.subscriptions.view import Subscription
from service.problems import Problem

ADDRESS = "/console/subscriptions/{id}"
# Of a connector that takes messages in. No subscription has its id, so links may lead to either.
CONNECTOR = "/console/connectors/{id}"
# Attempts, and groups of each state, that the page shows.
MAX_ATTEMPTS = 20
MAX_GROUPS = 10


@dataclass(frozen=True)
class Blocked:
    """Messages that hold up what is behind them in their groups; `more` than are shown."""

    heads: list[Delivery]
    more: bool


@shown
async def show_subscription(visit: Visit) -> Response:
    """The page; that of the connector where the id is of one that takes messages in."""
    id_ = visit.request.path_params["id"]
    try:
        subscription = await visit.ask(view.read_subscription, id=id_)
    except Problem as problem:
        if problem.status != 404 or await _connector(visit, id_) is None:
            raise
        return RedirectResponse(CONNECTOR.format(id=id_), 303, headers=NO_STORE)
    connector = None if subscription.kind == "http" else await _connector(visit, id_)
    return visit.page(
        "pages/subscription.html",
        now=datetime.now(UTC),
        one=subscription,
        may_operate=may_operate(visit, subscription),
        numbers=await _numbers(visit, id_),
        connector=connector,
        blocked=await _blocked(visit, id_),
        attempts=await visit.ask(
            attempts.list_attempts, query=AttemptQuery(limit=MAX_ATTEMPTS, subscription_id=id_)
        ),
        settings=_settings(subscription, connector),
        sparkline=await hour_of(visit, id_),
    )


async def hour_of(visit: Visit, id_: str) -> Sparkline | None:
    """Its last hour; None where the database had no time to tell."""
    minutes: Minutes = visit.request.state.minutes
    hours = await minutes.now()
    return None if hours is None else sparkline(hours.get(id_, NOTHING))


def may_operate(visit: Visit, subscription: Subscription) -> bool:
    """Whether the key has the scope that pauses, replays and redrives this one."""
    return visit.may("manage" if subscription.kind == "http" else "operate")


async def _numbers(visit: Visit, id_: str) -> Stats | None:
    """Of this one; None where it went meanwhile."""
    query = StatsQuery(limit=1, cursor=str(int(id_) - 1))
    counted = await visit.ask(stats.list_stats, query=query)
    return next((one for one in counted.items if one.subscription_id == id_), None)


async def _connector(visit: Visit, id_: str) -> Connector | None:
    """The connector of this id, if it is one."""
    try:
        return await visit.ask(connector_view.read_connector, id=id_)
    except Problem as problem:
        if problem.status != 404:
            raise
        return None


async def _blocked(visit: Visit, id_: str) -> Blocked:
    heads: list[Delivery] = []
    more = False
    for state in ("parked", "retrying"):
        query = DeliveryQuery(limit=MAX_GROUPS, subscription_id=id_, state=state)
        found = await visit.ask(deliveries.list_deliveries, query=query)
        heads += found.items
        more |= found.next_cursor is not None
    return Blocked(heads, more)


# Of an endpoint's settings those that the page has no other place for, by the names of the API.
SETTINGS = (
    "concurrency",
    "ratePerSecond",
    "timeoutSeconds",
    "maxPayloadBytes",
    "clientErrors",
    "onExhausted",
    "attemptsLog",
    "retry",
    "breaker",
)


def _settings(subscription: Subscription, connector: Connector | None) -> list[tuple[str, str]]:
    """Each setting that applies."""
    all_ = msgspec.to_builtins(subscription)
    kept = {name: all_[name] for name in SETTINGS if name in all_}
    if connector is not None:
        kept |= msgspec.to_builtins(connector.config)
    return told(kept)


def address(visit: Visit) -> str:
    """The page's, of the subscription that the path names."""
    return ADDRESS.format(id=visit.request.path_params["id"])


@changes
async def pause_it(visit: Visit, _: Form) -> Response:
    """Holds everything from now on."""
    held = await visit.ask(pause.pause, id=visit.request.path_params["id"])
    return visit.back(address(visit), f"{held.name} is paused. Nothing is dropped.")


@changes
async def resume_it(visit: Visit, _: Form) -> Response:
    """Goes on where it stood."""
    going = await visit.ask(pause.resume, id=visit.request.path_params["id"])
    return visit.back(address(visit), f"{going.name} goes on where it stood.")


@changes
async def retry_it(visit: Visit, form: Form) -> Response:
    """What waits for its next attempt goes now; of one group alone where the form names it."""
    body = form.as_(RetryForm, "groupKey")
    retried = await visit.ask(retry.retry, id=visit.request.path_params["id"], body=body)
    what = "message goes" if retried.messages == 1 else "messages go"
    said = f"{retried.messages:,} {what} now; those behind in their groups follow."
    return visit.back(address(visit), said)


@changes
async def send_test(visit: Visit, _: Form) -> Response:
    """Queues a test message, and shows where it is."""
    id_ = visit.request.path_params["id"]
    subscription = await visit.ask(view.read_subscription, id=id_)
    step = testing.send_test if subscription.kind == "http" else connector_steps.send_test
    sent = await visit.ask(step, id=id_)
    said = f"A test message is on its way to {subscription.name}."
    return visit.back(f"/console/messages/{sent.message_id}", said)


@changes
async def rotate_secret(visit: Visit, form: Form) -> Response:
    """Makes a new secret, and shows it here and nowhere else: so the answer is the page itself."""
    id_ = visit.request.path_params["id"]
    body = form.as_(RotationForm, "revokeOld")
    made = await visit.ask(secret.rotate_secret, id=id_, body=body)
    subscription = await visit.ask(view.read_subscription, id=id_)
    return visit.page(
        "pages/secret.html", one=subscription, made=made, revoked=body.revoke_old == "now"
    )


ROUTES = (
    Route(ADDRESS, show_subscription, methods=["GET"]),
    Route(f"{ADDRESS}/pause", pause_it, methods=["POST"]),
    Route(f"{ADDRESS}/resume", resume_it, methods=["POST"]),
    Route(f"{ADDRESS}/retry", retry_it, methods=["POST"]),
    Route(f"{ADDRESS}/test", send_test, methods=["POST"]),
    Route(f"{ADDRESS}/rotate-secret", rotate_secret, methods=["POST"]),
)
