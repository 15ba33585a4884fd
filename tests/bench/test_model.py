"""What the model makes of its measurements, and that they are those it was fed with."""

import sys
from pathlib import Path

import msgspec
import pytest

from bench import model
from bench.model import Costs, Following, Line, Message, Mixture, Order, Processor, needs

KAFKA = Following(
    run_seconds=Line(0.004, 0.0001),
    run_relay=Line(800, 40),
    run_postgres=Line(900, 60),
    run_wal_bytes=Line(100, 250),
    delivery=Processor(relay=6, postgres=1),
    relay_bytes=100_000,
)
ENDPOINTS = Following(
    run_seconds=Line(0.003, 0.0002),
    run_relay=Line(700, 90),
    run_postgres=Line(800, 60),
    run_wal_bytes=Line(100, 250),
    delivery=Processor(relay=40, postgres=1),
    relay_bytes=200_000,
)
COSTS = Costs(
    machine="a machine",
    measured_at="a day",
    is_quick=False,
    order=Order(postgres_microseconds=500, wal_bytes=1000),
    message=Message(postgres_microseconds=30, wal_bytes=Line(300, 1), disk_bytes=Line(200, 1.5)),
    idle_relay=0.01,
    idle_postgres=0.005,
    relay_bytes=60_000_000,
    kafka=KAFKA,
    endpoints=ENDPOINTS,
)


def test_at_low_rates_each_order_has_a_run_and_at_high_rates_runs_follow_each_other() -> None:
    assert KAFKA.runs_per_second(1, 10) == pytest.approx(1, rel=0.01)
    assert KAFKA.runs_per_second(1e6, 10) == pytest.approx(200, rel=0.01)


def test_what_nobody_reads_costs_what_is_published() -> None:
    of = needs(COSTS, Mixture(orders=100, kafka_subscriptions=0))
    assert of.postgres_cores == pytest.approx(0.005 + 100 * (500 + 3 * 30) / 1e6)
    assert of.wal_bytes == 100 * (1000 + 3 * 800)
    assert of.disk_bytes == 100 * 3 * 950
    assert (of.relay_cores, of.deliveries, of.checkpoint_wal_bytes) == (0.01, 0, 0)


def test_a_relay_pays_for_runs_for_subscriptions_in_them_and_for_deliveries() -> None:
    of = needs(COSTS, Mixture(orders=100, kafka_subscriptions=10, endpoints=20))
    to_kafka, to_endpoints = 100 / 1.5, 100 / 1.7
    assert (of.deliveries, of.requests) == (2000, 2000)
    assert of.relay_cores == pytest.approx(
        0.01 + (to_kafka * 1200 + 2000 * 6 + to_endpoints * 2500 + 2000 * 40) / 1e6
    )
    assert of.checkpoint_wal_bytes == pytest.approx(to_kafka * 2600 + to_endpoints * 5100)
    assert of.relay_bytes == 65_000_000


def test_deliveries_leave_a_part_of_each_relays_core_to_runs() -> None:
    asked = Mixture(orders=1000, endpoints=50)
    of = needs(COSTS, asked)
    delivered = (1000 * 2 * 6 + 1000 * 50 * 40) / 1e6
    assert delivered / of.relays <= model.BUSY_SHARE < delivered / (of.relays - 1)
    most = model.orders_of_one_relay(COSTS, asked)
    assert most == pytest.approx(0.7e6 / (2 * 6 + 50 * 40))
    assert needs(COSTS, msgspec.structs.replace(asked, orders=most - 1)).relays == 1
    assert needs(COSTS, msgspec.structs.replace(asked, orders=most + 1)).relays == 2


def test_no_relay_takes_more_than_its_core_and_runs_become_seldom() -> None:
    asked = Mixture(orders=300, kafka_subscriptions=20, endpoints=50)
    of = needs(COSTS, asked)
    assert of.relay_cores == pytest.approx(of.relays)
    idle = needs(COSTS, msgspec.structs.replace(asked, endpoints=1, kafka_subscriptions=1))
    assert of.run_seconds > idle.run_seconds


def test_the_command_answers_by_the_file_it_is_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "measured.json"
    file.write_bytes(msgspec.json.encode(COSTS))
    asked = ["--orders", "1000", "--endpoints", "50", "--measured", str(file)]
    monkeypatch.setattr(sys, "argv", ["model", *asked])
    assert model.main() == 0
    said = capsys.readouterr().out
    assert "50,000 /s" in said
    assert "An endpoint that takes 50 ms answers 640 requests a second" in said
    assert "a machine" in said


def test_a_file_that_does_not_fit_is_refused_with_its_field(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "measured.json"
    file.write_text('{"machine": 1}')
    monkeypatch.setattr(sys, "argv", ["model", "--orders", "1", "--measured", str(file)])
    with pytest.raises(SystemExit) as refused:
        model.main()
    assert refused.value.code == 2
    assert "$.machine" in capsys.readouterr().err


def test_the_committed_measurements_can_be_read() -> None:
    assert needs(model.read(model.MEASURED), Mixture(orders=100)).wal_bytes > 0
