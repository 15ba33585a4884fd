"""Requests that fit the OpenAPI document and requests that don't, from a fixed seed.

    python -m tests.service.openapi_probe URL AUTHORIZATION

A process of its own: what generates them leaves Hypothesis changed for the next test that uses it.
Exits with a traceback at the first answer that is not as the document says, or a 5xx.
"""

import sys
from typing import Any

import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis import GenerationMode
from schemathesis.checks import CheckFunction
from schemathesis.core.result import Ok
from schemathesis.specs.openapi.checks import positive_data_acceptance

EXAMPLES = 5


def probe(url: str, authorization: str) -> int:
    """How many operations answered as described."""
    schema = schemathesis.openapi.from_url(f"{url}/openapi.json")
    probed = 0
    for result in schema.get_all_operations():
        assert isinstance(result, Ok), result
        for mode in GenerationMode:
            if (result.ok().method.upper(), mode) == ("PUT", GenerationMode.POSITIVE):
                # Which schemas an event type may have, no schema says.
                continue

            @settings(
                max_examples=EXAMPLES,
                derandomize=True,
                database=None,
                deadline=None,
                phases=[Phase.generate],
                suppress_health_check=list(HealthCheck),
            )
            @given(case=result.ok().as_strategy(generation_mode=mode))
            def check(case: schemathesis.Case[Any]) -> None:
                case.body = integral(case.body)
                excluded: list[CheckFunction] = []
                if "/sale/" in case.path:
                    # Which fields a payment's webhook needs depends on its header and its event.
                    excluded.append(positive_data_acceptance)
                if case.path.endswith(("/redrive", "/replay", "/discard")):
                    # Nor does it know which ids there are; naming another one is a 422.
                    excluded.append(positive_data_acceptance)
                case.call_and_validate(
                    base_url=url,
                    headers={"Authorization": authorization},
                    excluded_checks=excluded,
                )

            check()
        probed += 1
    return probed


def integral(value: Any) -> Any:
    """To JSON Schema 1.0 is an integer; to the service it is a number that is none."""
    if isinstance(value, dict):
        return {name: integral(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [integral(inner) for inner in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


if __name__ == "__main__":
    print(probe(*sys.argv[1:]))
