"""The model against mixtures that it was not fed with."""

import statistics
from collections.abc import Iterator

import msgspec

from bench.figures import Figure, Section, at_most
from bench.model import Costs, Mixture, needs
from bench.scale import steady
from bench.scale.stage import Stage

# Orders a second, subscriptions to Kafka, endpoints. The model is fed with turns of another rate,
# and never with both kinds at once.
MIXTURES = ((100, 3, 40), (250, 6, 15))
# So many times too much or too little is still of use to whoever buys machines.
TARGET = at_most(1.5)


class Compared(msgspec.Struct, frozen=True):
    """One quantity of one mixture; `form` is the format of a value, its unit included."""

    name: str
    predicted: float
    measured: float
    form: str

    @property
    def off_by(self) -> float:
        """How many times too much or too little; 1 is exact."""
        ratio = self.predicted / self.measured
        return max(ratio, 1 / ratio)


def compare(stage: Stage, costs: Costs, mixture: tuple[int, int, int]) -> list[Compared]:
    """Plays one of MIXTURES."""
    rate, kafka, endpoints = mixture
    turn = steady.turn(stage, rate, stage.sizes.checked, kafka, endpoints)
    predicted = needs(
        costs,
        Mixture(
            orders=turn.orders,
            messages=len(stage.sale.published),
            message_bytes=stage.sale.mean_payload_bytes,
            kafka_subscriptions=kafka,
            endpoints=endpoints,
        ),
    )
    return [
        Compared("relay", predicted.relay_cores, turn.relay_cores, "{:.2f} cores"),
        Compared("Postgres", predicted.postgres_cores, turn.postgres_cores, "{:.2f} cores"),
        Compared("WAL", predicted.wal_bytes / 1e3, turn.wal_bytes / 1e3, "{:,.0f} kB/s"),
        Compared("log", predicted.disk_bytes / 1e3, turn.disk_bytes / 1e3, "{:,.0f} kB/s"),
        Compared(
            "memory of the relay", predicted.relay_bytes / 2**20, turn.relay_bytes / 2**20,
            "{:,.0f} MiB",
        ),
    ]  # fmt: skip


def sections(stage: Stage, costs: Costs) -> Iterator[Section]:
    """One for each mixture: what was predicted, what was measured, and how far they are apart."""
    for mixture in MIXTURES:
        rate, kafka, endpoints = mixture
        compared = compare(stage, costs, mixture)
        figures: list[Figure] = []
        for one in compared:
            figures += [
                Figure(one.name, [one.measured], one.form),
                Figure("  predicted", [one.predicted], one.form),
                Figure("  predicted ÷ measured", [one.predicted / one.measured], "{:.2f}"),
            ]
        off_by = [one.off_by for one in compared]
        figures += [
            Figure("off by a factor of, median", [statistics.median(off_by)], "{:.2f}", TARGET),
            Figure("  and at the worst", [max(off_by)], "{:.2f}", TARGET),
        ]
        yield Section(
            f"The model: {rate} orders/s, {kafka} subscriptions to Kafka, {endpoints} endpoints",
            figures,
            "measured while one relay carried it; predicted by bench/model.py, which was fed with "
            "other rates and with one kind of subscription at a time.",
        )
