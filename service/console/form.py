"""What a page's form sends."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeVar
from urllib.parse import parse_qsl

import msgspec
from starlette.requests import Request

from service.console.origin import require_own_page
from service.problems import Problem
from service.web.bodies import body

MAX_BYTES = 65_536
MAX_FIELDS = 1_000
CONTENT_TYPE = "application/x-www-form-urlencoded"
TOKEN = "token"

Shape = TypeVar("Shape")


@dataclass(frozen=True)
class Form:
    """The fields in their order; a name may come again, as boxes that are ticked do."""

    fields: Sequence[tuple[str, str]]

    def all(self, name: str) -> list[str]:
        """Every value of this name."""
        return [value for given, value in self.fields if given == name]

    def text(self, name: str) -> str:
        """Its value without blanks around it; empty where there is none."""
        return next(iter(self.all(name)), "").strip()

    def as_(self, shape: type[Shape], *names: str, **more: Any) -> Shape:
        """The body of an operation: these fields, as they are called there, and `more`.

        What was left empty is not given. Raises Problem 422 naming what does not fit.
        """
        given = {name: value for name in names if (value := self.text(name))}
        try:
            return msgspec.convert({**given, **more}, shape, strict=False)
        except msgspec.ValidationError as error:
            raise body.misfit(error, shape) from None


async def read(request: Request) -> Form:
    """The form of a POST. Raises Problem: 403 from a page of another site, and as body.read."""
    require_own_page(request)
    raw = await body.read(request, MAX_BYTES, CONTENT_TYPE)
    try:
        fields = parse_qsl(
            raw.decode("ascii"),
            keep_blank_values=True,
            encoding="utf-8",
            errors="strict",
            max_num_fields=MAX_FIELDS,
        )
    except ValueError:
        raise Problem(400, "The form is none, or has too many fields.") from None
    if any("\0" in text for field in fields for text in field):
        raise Problem(422, "The form holds a NUL character, which the database can't store.")
    return Form(fields)
