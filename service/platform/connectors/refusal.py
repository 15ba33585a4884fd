"""What the database refuses of a connector that is made or changed, as a Problem."""

from psycopg import errors as sqlstates

from service.platform.connectors import config
from service.platform.subscriptions import refusal
from service.problems import Problem


def refused(error: sqlstates.UniqueViolation | sqlstates.CheckViolation) -> Problem:
    """409 or 422 with the field; other errors are raised again."""
    if isinstance(error, sqlstates.CheckViolation):
        message = error.diag.message_primary or ""
        if error.diag.column_name == "settings":
            return config.refused(message)
        if error.diag.column_name == "direction":
            return Problem(409, f"direction in: {message}.", field="direction")
        if error.diag.column_name in ("brokers", "namespace"):
            return Problem(409, f"config.{message}.", field=f"config.{error.diag.column_name}")
    return refusal.refused(error)
