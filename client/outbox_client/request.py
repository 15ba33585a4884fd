"""A request that is described and not sent yet; both transports send it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Generic, Self, TypeVar

Answer = TypeVar("Answer")

KEY_HEADER = "Idempotency-Key"


@dataclass(frozen=True, kw_only=True)
class Request(Generic[Answer]):
    """`content` is JSON, the same bytes at each attempt. `decode` reads the answer's.

    `repeatable`: sent again, it has no second effect. `timeout_seconds`: None: the transport's own.
    """

    method: str
    path: str
    decode: Callable[[bytes], Answer]
    repeatable: bool
    query: Mapping[str, Any] = field(default_factory=dict)
    content: bytes | None = None
    key: str | None = None
    timeout_seconds: float | None = None

    @property
    def name(self) -> str:
        """As exceptions name it."""
        return f"{self.method} {self.path}"

    @property
    def headers(self) -> dict[str, str]:
        """Those of its own."""
        typed = {} if self.content is None else {"Content-Type": "application/json"}
        return typed if self.key is None else {**typed, KEY_HEADER: self.key}

    def at(self, cursor: str) -> Self:
        """The same list, from there on."""
        return replace(self, query={**self.query, "cursor": cursor})
