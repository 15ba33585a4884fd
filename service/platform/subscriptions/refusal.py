"""What the database refuses of a subscription that is made or changed, as a Problem."""

from psycopg import errors as sqlstates

from service.platform.subscriptions import endpoint_settings
from service.problems import Problem


def refused(error: sqlstates.UniqueViolation | sqlstates.CheckViolation) -> Problem:
    """409 or 422 with the field; other errors are raised again."""
    if isinstance(error, sqlstates.UniqueViolation):
        return Problem(
            409, "Another subscription has this name, in this or another case.", field="name"
        )
    if error.diag.column_name == "settings":
        return endpoint_settings.refused(error.diag.message_primary or "")
    if error.diag.column_name == "shards":
        return Problem(409, f"{error.diag.message_primary}.", field="shards")
    raise error
