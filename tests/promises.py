"""The tests of other modules, to be kept again in another place."""

import inspect
from collections.abc import Callable
from types import ModuleType
from typing import Any

Promise = Callable[..., None]


def promises(*modules: ModuleType, of: tuple[str, ...]) -> list[Any]:
    """Their tests that take these fixtures and no others."""
    found = [
        test
        for module in modules
        for name, test in vars(module).items()
        if name.startswith("test_") and tuple(inspect.signature(test).parameters) == of
    ]
    assert found
    return found
