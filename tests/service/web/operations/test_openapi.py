"""The OpenAPI document: whatever fits it is answered as it says, and nothing ends in a 5xx."""

import subprocess
import sys
from collections.abc import Callable

import pytest

from tests.conftest import Spawn
from tests.service.api import Platform


@pytest.mark.long
def test_every_path_answers_as_the_document_says(
    platform: Platform, spawn: Spawn, free_port: Callable[[], int]
) -> None:
    """At the real service, as a login that is only outbox_service."""
    url = f"http://127.0.0.1:{free_port()}"
    environment = {"DATABASE_URL": platform.service_url, "SERVICE_PORT": url.rpartition(":")[2]}
    spawn("outbox-service", environment=environment, ready_url=f"{url}/readyz")
    authorization = platform.authorization["Authorization"]
    probe = subprocess.run(
        [sys.executable, "-m", "tests.service.openapi_probe", url, authorization],
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert probe.returncode == 0, probe.stderr
    document = platform.http.get("/openapi.json").json()
    operations = sum(
        method in {"get", "post", "put", "patch", "delete"}
        for path in document["paths"].values()
        for method in path
    )
    assert int(probe.stdout) == operations


def test_types_of_one_name_are_told_apart(platform: Platform) -> None:
    """The attempt that a webhook tells of has nothing to do with the relay's at an endpoint."""
    schemas = platform.http.get("/openapi.json").json()["components"]["schemas"]
    [attempt, _] = schemas["Payload"]["properties"]["attempt"]["anyOf"]
    assert "paymentProvider" in schemas[attempt["$ref"].rpartition("/")[2]]["properties"]
    assert "durationSeconds" in schemas["Attempt"]["properties"]
