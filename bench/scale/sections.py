"""What is measured, in which order, and what it should come to."""

from collections.abc import Callable

from bench.figures import Figure, Section, Target, at_least, at_most
from bench.scale import databases, endpoints, limits, publishing, steady
from bench.scale.endpoints import DELIVERIES
from bench.scale.limits import Overload
from bench.scale.publishing import WRITERS
from bench.scale.stage import Stage

MEBIBYTE = float(1 << 20)
RELAYS = (1, 4)
MANY = 100


def writers(stage: Stage) -> Section:
    """Orders by more and more sessions, while nobody reads."""
    figures: list[Figure] = []
    for number in WRITERS:
        stage.tell(f"orders by {number} writers, as fast as they go")
        written = publishing.by_writers(stage, number)
        of = f"{number} writer" + "s" * (number > 1)
        published = written.orders * len(stage.sale.published)
        figures += [
            Figure(f"orders, {of}", [written.orders], "{:,.0f} /s"),
            Figure("  messages published", [published], "{:,.0f} /s"),
            Figure(
                "  Postgres's processor, an order", [written.postgres_microseconds], "{:,.0f} µs"
            ),
            Figure("  WAL, an order", [written.wal_bytes], "{:,.0f} B"),
        ]
    kinds = ", ".join(one.channel for one in stage.sale.published)
    return Section(
        "What one Postgres takes",
        figures,
        f"each order is one transaction of the sale service, sent by pgbench in two pipelines as "
        f"the service sends it: its state, points, an allocation, and the messages {kinds}; every "
        "commit waits for the disk. WAL without the whole pages that follow a checkpoint.",
    )


def served(stage: Stage) -> Section:
    """Endpoints by one relay and by four."""
    figures: list[Figure] = []
    for relays in RELAYS:
        by = "one relay" if relays == 1 else f"{relays} relays"
        for number in stage.sizes.served_endpoints:
            one = endpoints.serve(stage, relays, number)
            figures += [
                Figure(f"{number} endpoints, {by}: p50", [one.p50], "{:.1f} ms"),
                Figure("  p99", [one.p99], "{:.1f} ms", _latency(relays, number)),
                Figure("  requests", [one.deliveries], "{:,.0f} /s"),
                Figure("  processor of the relays", [one.relay_cores], "{:.2f} cores"),
                Figure("  processor of Postgres", [one.postgres_cores], "{:.2f} cores"),
                Figure("  memory of the relays", [one.relay_bytes / MEBIBYTE], "{:.0f} MiB"),
            ]
    for relays in RELAYS:
        count = stage.sizes.served_backlog
        drained = steady.drain(stage, count, endpoints=MANY, relays=relays)
        by = "one relay" if relays == 1 else f"{relays} relays"
        figures += [
            Figure(f"a backlog to {MANY}, {by}", [drained.deliveries_per_second], "{:,.0f} /s"),
            Figure("  processor, a request", [drained.each.relay], "{:.0f} µs"),
        ]
    return Section(
        "How many endpoints are served",
        figures,
        f"commit → request at up to {DELIVERIES:,} signed requests a second in all, each message "
        "to every endpoint; they answer at once, and share the two cores with the relays.",
    )


def _latency(relays: int, number: int) -> Target | None:
    """Of one relay and a hundred endpoints: as in the other benchmark of them."""
    return at_most(50) if (relays, number) == (1, MANY) else None


def overloads(stage: Stage) -> Section:
    """An endpoint's slots, and a relay's processor."""
    slow = limits.slow_endpoint(stage)
    busy = limits.busy_relay(stage)
    return Section(
        "What runs out first",
        [
            *_overload("a slow endpoint", slow, slots=at_least(0.9 * limits.SLOTS)),
            *_overload("a busy relay", busy, slots=None),
        ],
        f"the relay's metrics, over the last {limits.SAMPLE_SECONDS:.0f} s of an overload: an "
        "endpoint of 150 to 450 ms that is offered 200 messages a second, and a hundred quick ones "
        "that are offered 200 each.",
    )


def _overload(name: str, of: Overload, slots: Target | None) -> list[Figure]:
    return [
        Figure(f"{name}: process_cpu_seconds_total, a second", [of.busy], "{:.2f}"),
        Figure("  outbox_relay_request_seconds_sum, a second", [of.open_requests], "{:.1f}", slots),
        Figure("  outbox_relay_undelivered_messages", [of.undelivered], "{:,.0f}"),
        Figure("  outbox_relay_undelivered_oldest_age_seconds", [of.oldest_seconds], "{:.1f} s"),
    ]


def merged(stage: Stage) -> Section:
    """Four databases."""
    of = databases.merge(stage)
    return Section(
        f"{databases.DATABASES} databases, a relay each, one Kafka",
        [
            Figure("transactions", [of.committed], "{:,.0f}"),
            Figure("  committed a second", [of.committed / of.writers_seconds], "{:,.0f} /s"),
            Figure("  arrived a second", [of.committed / of.seconds], "{:,.0f} /s"),
            Figure("lost", [of.lost], "{:.0f}", at_most(0)),
            Figure("out of order in their group", [of.out_of_order], "{:.0f}", at_most(0)),
            Figure("repeats", [of.repeats], "{:,.0f}"),
        ],
        f"{databases.WRITERS} writers in each, {databases.GROUPS} groups; a transaction counts its "
        "group's row up and publishes the number; one relay is killed in the middle and started "
        "anew. All of it on the same two cores.",
    )


Measure = Callable[[Stage], Section]
SECTIONS: dict[str, Measure] = {
    "writers": writers,
    "endpoints": served,
    "limits": overloads,
    "databases": merged,
}
