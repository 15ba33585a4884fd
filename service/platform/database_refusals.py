"""What the database refuses of a request that fits the types, told as a Problem."""

import functools
from collections.abc import Awaitable, Callable
from typing import Any

from psycopg import errors as sqlstates

from service.problems import Problem
from service.web.operations.operation import Call

Run = Callable[[Call[Any, Any]], Awaitable[object]]


def as_problems(run: Run) -> Run:
    """`run`, with Problem 422 for a rule of the database's, 404 for what was deleted meanwhile."""

    @functools.wraps(run)
    async def run_or_refuse(call: Call[Any, Any]) -> object:
        try:
            return await run(call)
        except sqlstates.CheckViolation as error:
            # The types say the same rules first; the database has the last word.
            rule = error.diag.constraint_name or error.diag.message_primary or ""
            raise Problem(422, f"The database refused it: {rule.replace('_', ' ')}.") from None
        except (sqlstates.NoDataFound, sqlstates.ForeignKeyViolation):
            if "id" not in call.ids:
                raise
            # It was there when this request looked for it first.
            raise Problem(404, "It was deleted meanwhile.") from None

    return run_or_refuse
