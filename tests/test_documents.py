"""The documents lead nowhere that is not there; commands, settings, metrics are those there are."""

import importlib.util
import re
import shlex
from pathlib import Path
from typing import Any

import msgspec
import pytest
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from relay.cli import parser as relay_parser
from relay.monitoring.gauges import DatabaseCollector
from relay.monitoring.telemetry import Telemetry
from relay.settings import Settings
from relay.settings.variables import described_fields
from service import settings as service_settings
from service.cli import parser as service_parser
from service.database.pool import Database
from service.web.monitoring.metrics import Metrics
from tests.documents import DOCS, DOCUMENTS, README, ROOT, anchors, blocks, code, prose, tables
from tests.relay.operating import settings as relay_settings

LINK = re.compile(r"\]\(([^)\s]+)\)")
OPERATIONS = DOCS / "operations.md"
NOWHERE = "postgresql://nobody@127.0.0.1:1/nowhere"


def by_name(document: Path) -> str:
    return str(document.relative_to(ROOT))


# Beside the README, for those who read the repository.
BESIDE = [ROOT / name for name in ("CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md")]


@pytest.mark.parametrize("document", [*DOCUMENTS, *BESIDE], ids=by_name)
def test_every_link_leads_somewhere(document: Path) -> None:
    broken = []
    for link in LINK.findall(prose(document)):
        if link.startswith("https://"):
            continue
        path, _, anchor = link.partition("#")
        target = (document.parent / path).resolve() if path else document
        if not target.exists() or (anchor and anchor not in anchors(target)):
            broken.append(link)
    assert broken == []


def test_every_document_is_named_in_the_readme() -> None:
    links = LINK.findall(README.read_text())
    assert {by_name(document) for document in DOCUMENTS[1:]} <= set(links)


def test_every_document_begins_with_its_neighbours_and_the_readme_and_they_with_it() -> None:
    neighbours = {}
    for document in DOCUMENTS[1:]:
        begin = document.read_text().split("\n\n")[1]
        *named, last = ((document.parent / one).resolve() for one in LINK.findall(begin))
        assert last == README, document
        neighbours[document] = set(named)
    one_way = [(a, b) for a, named in neighbours.items() for b in named if a not in neighbours[b]]
    assert one_way == []
    assert all(neighbours.values())


def test_the_readme_is_read_in_one_go() -> None:
    assert len(README.read_text().splitlines()) <= 160


# What stands for a value in the documents, and one that fits.
PLACEHOLDERS = {"NAME": "billing", "ID": "17", "KEY": "7", "TIME": "2026-03-01T09:00:00Z"}


def commands_in_blocks() -> list[str]:
    # With a colon it is what a command says.
    called = re.compile(r"(?:^(?:\$ )?|\$\()(outbox-(?:relay|service)(?!:)[^)#\n]*)", re.MULTILINE)
    text = "\n".join(block for document in DOCUMENTS for block in blocks(document, ""))
    found = called.findall(text.replace("\\\n", " "))
    return sorted({" ".join(one.split()) for one in found})


def commands_in_sentences() -> list[str]:
    named = {one for document in DOCUMENTS for one in code(prose(document))}
    return sorted(one for one in named if re.match(r"outbox-(relay|service) ", one))


def parse(command: str) -> int | str | None:
    """With which status its arguments end: 0, or 2 where the command is none."""
    program, *words = shlex.split(command)
    parser = relay_parser() if program == "outbox-relay" else service_parser()
    try:
        parser.parse_args(["--help" if one == "…" else PLACEHOLDERS.get(one, one) for one in words])
    except SystemExit as end:
        return end.code
    return 0


@pytest.mark.parametrize("command", commands_in_blocks())
def test_every_command_that_is_shown_is_one(command: str) -> None:
    assert parse(command) == 0


@pytest.mark.parametrize("command", commands_in_sentences())
def test_every_command_that_is_mentioned_is_one(
    command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    # A sentence may leave out what a call needs.
    assert parse(command) == 0 or "arguments are required" in capsys.readouterr().err


def shown_in(document: Path) -> list[str]:
    """What stands between backticks, and what in blocks."""
    return [*code(prose(document)), *blocks(document, "")]


def test_every_target_and_module_that_is_shown_is_there() -> None:
    made = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for document in DOCUMENTS:
        shown = "\n".join(shown_in(document))
        # "make it" is what a command says of a topic.
        assert set(re.findall(r"\bmake (?!it\b)([a-z-]+)", shown)) <= made
        for module in re.findall(r"python -m ([\w.]+)", shown):
            assert importlib.util.find_spec(module), module


def test_every_path_that_is_named_is_there() -> None:
    path = re.compile(r"(?:bench|client|demo|deploy|docs|local|relay|service|sql|tests)/[\w./*-]+")
    shown = [one for document in DOCUMENTS for one in shown_in(document)]
    paths = {word for one in shown for word in one.split() if path.fullmatch(word)}
    assert [one for one in sorted(paths) if not list(ROOT.glob(one))] == []


def defaults(heading: str) -> dict[str, str]:
    """The settings of a process as operations.md has them: each with its default."""
    [rows] = tables(OPERATIONS, heading)
    assert all(explained for *_, explained in rows)
    return {name.strip("`"): default for name, default, _ in rows}


def written(default: Any) -> str:
    """As the documents write a default."""
    match default:
        case None | "" | ():
            return "none"
        case bool():
            return str(default).lower()
        case float():
            return f"{default:g}"
        case tuple():
            return ",".join(default)
        case _:
            return str(default)


def test_operations_has_every_setting_of_the_relay_with_its_default_and_no_other() -> None:
    expected = {name: written(field.default) for name, field in described_fields(Settings).items()}
    # It is made anew in each process.
    expected["RELAY_NAME"] = "host-pid"
    elsewhere = {
        "DATABASE_URL": "required",
        "KAFKA_BOOTSTRAP_SERVERS": "none",
        "KAFKA_<PROPERTY>": "librdkafka's",
        "OUTBOX_SECRET_KEY": "none",
        "RELAY_CREDENTIALS_<NAME>_<PART>": "none",
    }
    assert defaults("Settings of the relay") == expected | elsewhere


def test_operations_has_every_setting_of_the_service_with_its_default_and_no_other() -> None:
    elsewhere = {
        "database_url": ("DATABASE_URL", "required"),
        "webhook_secret": ("WEBHOOK_SECRET", "none"),
        "secret_key": ("OUTBOX_SECRET_KEY", "none"),
        "console": ("SERVICE_CONSOLE", "off"),
    }
    expected = dict(
        elsewhere.get(field.name, (f"SERVICE_{field.name.upper()}", written(field.default)))
        for field in msgspec.structs.fields(service_settings.Settings)
    )
    assert defaults("Settings of the service") == expected


def test_no_document_names_a_setting_that_there_is_not() -> None:
    known = {*defaults("Settings of the relay"), *defaults("Settings of the service")}
    # A part of a credential.
    known.add("SERVICE_ACCOUNT")
    for document in DOCUMENTS:
        named = set(re.findall(r"\b(?:RELAY|SERVICE)_[A-Z_]+", document.read_text()))
        # A credential is named as one likes.
        assert {one for one in named if not one.startswith("RELAY_CREDENTIALS_")} <= known


def names(*families: Metric) -> set[str]:
    """As Prometheus shows them; what every client for Python shows is left out."""
    shown = (one.name + ("_total" if one.type == "counter" else "") for one in families)
    return {name for name in shown if not name.startswith(("process_", "python_"))}


def collected(*collectors: Collector) -> set[str]:
    return names(*(family for one in collectors for family in one.collect()))


def test_operations_has_every_metric_and_no_other() -> None:
    relay_rows, service_rows = tables(OPERATIONS, "Every metric")
    database = DatabaseCollector(relay_settings(NOWHERE))
    relay = collected(Telemetry().registry) | names(*database.describe())
    service = Database(service_settings.Settings(database_url=NOWHERE))
    assert {name.strip("`") for name, *_ in relay_rows} == relay
    assert {name.strip("`") for name, *_ in service_rows} == collected(Metrics(service).registry)


def test_no_document_names_a_metric_that_there_is_not() -> None:
    known = {row[0].strip("`") for table in tables(OPERATIONS, "Every metric") for row in table}
    metric = re.compile(r"\b(?:outbox_relay|service)_[a-z_]+")
    # A role, a module and a part of a credential.
    others = {"outbox_relay", "service_connections", "service_account"}
    for document in DOCUMENTS:
        named = {one for one in code(prose(document)) if metric.fullmatch(one)}
        assert named - others <= known, document.name
