"""The OpenAPI document: whatever fits it is answered as it says, and nothing ends in a 5xx."""

from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis import GenerationMode
from schemathesis.checks import CheckFunction
from schemathesis.core.result import Ok
from schemathesis.specs.openapi.checks import positive_data_acceptance

from tests.conftest import Spawn
from tests.service.platform import Platform

EXAMPLES = 5


def integral(value: Any) -> Any:
    """To JSON Schema 1.0 is an integer; to the service it is a number that is none."""
    if isinstance(value, dict):
        return {name: integral(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [integral(inner) for inner in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


@pytest.fixture(scope="module")
def document(platform: Platform) -> dict[str, Any]:
    found: dict[str, Any] = platform.http.get("/openapi.json").json()
    return found


@pytest.mark.parametrize("mode", list(GenerationMode))
def test_every_path_answers_as_the_document_says(
    platform: Platform,
    document: dict[str, Any],
    spawn: Spawn,
    free_port: Any,
    mode: GenerationMode,
) -> None:
    """Requests that fit and requests that don't, from a fixed seed, at the real service."""
    url = f"http://127.0.0.1:{free_port()}"
    environment = {"DATABASE_URL": platform.service_url, "SERVICE_PORT": url.rpartition(":")[2]}
    spawn("outbox-service", environment=environment, ready_url=f"{url}/readyz")
    schema = schemathesis.openapi.from_dict(document)
    for result in schema.get_all_operations():
        assert isinstance(result, Ok), result
        operation = result.ok()

        @settings(
            max_examples=EXAMPLES,
            derandomize=True,
            database=None,
            deadline=None,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        @given(case=operation.as_strategy(generation_mode=mode))
        def check(case: schemathesis.Case[Any]) -> None:
            case.body = integral(case.body)
            # Which fields a payment's webhook needs depends on its header and its event.
            excluded: list[CheckFunction] = (
                [positive_data_acceptance] if "/sale/" in case.path else []
            )
            case.call_and_validate(
                base_url=url, headers=platform.authorization, excluded_checks=excluded
            )

        check()
