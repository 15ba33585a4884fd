"""What ships besides the code: compose.yaml, the image, the wheel; without a container engine."""

import re
import zipfile
from pathlib import Path
from typing import Any

import pytest
import yaml
from hatchling.builders.wheel import WheelBuilder

from relay.settings import Settings as RelaySettings
from service.settings import from_environment as service_settings

ROOT = Path(__file__).parent.parent
VARIABLE = re.compile(r"\$\{[A-Z_]+:-([^}]*)\}")


@pytest.fixture(scope="module")
def services() -> dict[str, Any]:
    # Compose fills in a variable's default where the environment has none.
    text = VARIABLE.sub(r"\1", (ROOT / "compose.yaml").read_text())
    services: dict[str, Any] = yaml.safe_load(text)["services"]
    return services


def environment(service: dict[str, Any]) -> dict[str, str]:
    return {name: str(value or "") for name, value in service["environment"].items()}


def test_compose_starts_nothing_before_what_it_needs(services: dict[str, Any]) -> None:
    for name, service in services.items():
        for needed, how in service.get("depends_on", {}).items():
            assert needed in services, f"{name} depends on {needed}, which is no service"
            if how["condition"] == "service_healthy":
                assert "healthcheck" in services[needed]
            else:
                assert how["condition"] == "service_completed_successfully"
                assert "restart" not in services[needed]


def test_compose_gives_both_processes_settings_that_they_take(services: dict[str, Any]) -> None:
    relay = RelaySettings.from_environment(environment(services["relay"])).with_kafka()
    service, _ = service_settings(environment(services["service"]))
    assert relay.port is not None
    assert service.host == "0.0.0.0"


def test_compose_exposes_the_service_alone_and_to_this_host_alone(services: dict[str, Any]) -> None:
    exposed = {name: one["ports"] for name, one in services.items() if "ports" in one}
    assert exposed == {"service": ["127.0.0.1:8080:8080"]}


def test_compose_runs_neither_process_as_the_databases_owner(services: dict[str, Any]) -> None:
    for name in ("service", "relay"):
        assert environment(services[name])["DATABASE_URL"].startswith(f"postgresql://{name}@")


def test_the_wheel_carries_the_migrations_and_both_commands(tmp_path: Path) -> None:
    [wheel] = WheelBuilder(str(ROOT)).build(directory=str(tmp_path), versions=["standard"])
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        [entry_points] = [name for name in names if name.endswith("entry_points.txt")]
        commands = archive.read(entry_points).decode()
    for migration in (ROOT / "sql" / "migrations").glob("*.sql"):
        assert f"relay/sql/migrations/{migration.name}" in names
    assert "relay/sql/roles.sql" in names
    assert "outbox-service" in commands
    assert "outbox-relay" in commands


def test_the_image_is_built_from_files_that_are_there() -> None:
    lines = (ROOT / "Dockerfile").read_text().splitlines()
    copied = [line.split()[1:-1] for line in lines if re.match(r"COPY (?!--from)", line)]
    allowed = set((ROOT / ".dockerignore").read_text().split())
    for source in [name for names in copied for name in names]:
        assert (ROOT / source).exists()
        assert f"!{source}" in allowed
