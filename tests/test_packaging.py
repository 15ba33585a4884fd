"""What ships besides the code: compose.yaml, the image, the wheel; without a container engine."""

import re
import tarfile
import tomllib
import zipfile
from pathlib import Path
from typing import Any

import pytest
import yaml

from local.distributions import CLIENT, RELAY, build
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
    relay = RelaySettings.from_environment(environment(services["relay"])).require_kafka()
    service, _ = service_settings(environment(services["service"]))
    assert relay.port is not None
    assert service.host == "0.0.0.0"


def test_compose_exposes_the_service_alone_and_to_this_host_alone(services: dict[str, Any]) -> None:
    exposed = {name: one["ports"] for name, one in services.items() if "ports" in one}
    assert exposed == {"service": ["127.0.0.1:8080:8080"]}


def test_compose_runs_neither_process_as_the_databases_owner(services: dict[str, Any]) -> None:
    for name in ("service", "relay"):
        assert environment(services[name])["DATABASE_URL"].startswith(f"postgresql://{name}@")


@pytest.fixture(scope="module")
def distribution(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The sdist, and the wheel from it."""
    return build(RELAY, tmp_path_factory.mktemp("dist"))


def files_of(*folders: str) -> set[str]:
    """What the checkout has in them, but for what Python compiled."""
    found = (path for folder in folders for path in (ROOT / folder).rglob("*") if path.is_file())
    return {str(path.relative_to(ROOT)) for path in found if path.suffix != ".pyc"}


def test_the_wheel_from_the_sdist_carries_the_code_its_files_and_the_sql_and_nothing_else(
    distribution: tuple[Path, Path],
) -> None:
    with zipfile.ZipFile(distribution[1]) as archive:
        names = {name for name in archive.namelist() if ".dist-info/" not in name}
    code = files_of("catalogue", "relay", "service")
    assert names == code | {f"relay/{name}" for name in files_of("sql")}


def test_the_sdist_carries_no_more_than_the_wheel_is_built_from(
    distribution: tuple[Path, Path],
) -> None:
    with tarfile.open(distribution[0]) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    besides = {"README.md", "CHANGELOG.md", "LICENSE", "pyproject.toml", "PKG-INFO", ".gitignore"}
    assert names == files_of("catalogue", "relay", "service", "sql") | besides


def test_both_distributions_have_one_version() -> None:
    read = (tomllib.loads((one / "pyproject.toml").read_text()) for one in (RELAY, CLIENT))
    assert len({one["project"]["version"] for one in read}) == 1


def test_the_wheel_has_both_commands(distribution: tuple[Path, Path]) -> None:
    with zipfile.ZipFile(distribution[1]) as archive:
        [entry_points] = [name for name in archive.namelist() if name.endswith("entry_points.txt")]
        commands = archive.read(entry_points).decode()
    assert re.findall(r"^(\S+) =", commands, re.MULTILINE) == ["outbox-relay", "outbox-service"]


def test_the_wheel_carries_the_licenses_and_says_which_they_are(
    distribution: tuple[Path, Path],
) -> None:
    with zipfile.ZipFile(distribution[1]) as archive:
        [metadata] = [name for name in archive.namelist() if name.endswith("/METADATA")]
        licenses = f"{Path(metadata).parent}/licenses"
        for name in ("LICENSE", "service/console/static/htmx.LICENSE"):
            assert archive.read(f"{licenses}/{name}") == (ROOT / name).read_bytes()
        assert b"\nLicense-Expression: Apache-2.0 AND 0BSD\n" in archive.read(metadata)


def test_the_image_is_built_from_files_that_are_there() -> None:
    lines = (ROOT / "Dockerfile").read_text().splitlines()
    copied = [line.split()[1:-1] for line in lines if re.match(r"COPY (?!--from)", line)]
    allowed = set((ROOT / ".dockerignore").read_text().split())
    for source in [name for names in copied for name in names]:
        assert (ROOT / source).exists()
        assert f"!{source}" in allowed


DIGEST = r"@sha256:[0-9a-f]{64}"


def test_compose_and_the_image_name_what_they_build_on_by_its_digest(
    services: dict[str, Any],
) -> None:
    foreign = {one["image"] for one in services.values() if "build" not in one}
    dockerfile = (ROOT / "Dockerfile").read_text()
    [base] = re.findall(r"^ARG PYTHON=(\S+)$", dockerfile, re.MULTILINE)
    assert set(re.findall(r"^FROM (\S+)", dockerfile, re.MULTILINE)) == {"${PYTHON}"}
    for image in (*foreign, base):
        assert re.fullmatch(rf"[a-z/]+:[a-z0-9.-]+{DIGEST}", image), image
    # Of one tag one digest.
    assert len({image.partition("@")[0] for image in foreign}) == len(foreign)


def test_no_container_of_compose_gains_privileges(services: dict[str, Any]) -> None:
    for name, service in services.items():
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert not service.get("privileged"), name
        assert "cap_add" not in service, name
    # It gives its volume to its user.
    assert {name for name, one in services.items() if one.get("cap_drop") != ["ALL"]} == {
        "postgres"
    }
    ours = {name for name, one in services.items() if "build" in one}
    assert ours == {"migrate", "service", "relay"}
    assert all(services[name]["read_only"] for name in ours)


def test_the_image_installs_nothing_without_a_hash_but_what_it_built_itself() -> None:
    text = (ROOT / "Dockerfile").read_text().replace("\\\n", " ")
    commands = re.findall(r"pip (?:install|wheel) [^&|\n]*", text)
    assert len(commands) == 4
    for command in commands:
        hashed = "--require-hashes -r " in command
        built = "--no-deps" in command and re.search("--no-build-isolation|--no-index", command)
        assert hashed or built, command


def test_the_build_backend_is_locked_by_hash_at_one_version() -> None:
    locked = {}
    for name in ("requirements.build.lock", "requirements.lock"):
        text = (ROOT / name).read_text()
        pins = re.findall(r"^([a-z-]+)==(\S+)((?: \\\n\s+--hash=sha256:[0-9a-f]{64})+)", text, re.M)
        assert len(pins) == len(re.findall(r"^[a-z]", text, re.M)) or name == "requirements.lock"
        locked[name] = {package: version for package, version, _ in pins}
    build, everything = locked.values()
    assert "hatchling" in build
    assert build.items() <= everything.items()
