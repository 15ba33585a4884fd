"""What the doctor finds about endpoints' secrets at rest."""

from collections.abc import Iterator

from relay.database import Connection
from relay.doctor.finding import Finding, ok
from relay.keyring import Keyring
from relay.secrets import at_rest
from relay.settings import Settings

MAX_NAMED = 5


def examine(connection: Connection, settings: Settings) -> Iterator[Finding]:
    """Whether they are sealed, and whether each can be opened here. Raises psycopg.Error."""
    found = at_rest.look(connection, Keyring(settings.secret_keys))
    whole = found.plain + found.newest + found.older
    if found.unopened:
        names = ", ".join(found.unopened[:MAX_NAMED])
        more = ", …" if len(found.unopened) > MAX_NAMED else ""
        text = f"sealed with a key that is not here: nothing is sent to {names}{more}"
        hint = (
            "give the relay that OUTBOX_SECRET_KEY besides, or make new secrets: "
            "outbox-relay subscriptions rotate-secret NAME --revoke-old now"
        )
        yield Finding("fault", "secrets", text, hint)
    if not settings.secret_keys:
        if found.plain:
            text = f"{found.plain} as they are: a reader of the database or of a backup can sign"
            yield ok("secrets", f"{text}; OUTBOX_SECRET_KEY would seal them")
        return
    if found.plain or found.older:
        text = f"{found.plain} are not sealed, {found.older} by an older key"
        hint = "a relay seals them within a minute, and so does: outbox-relay secrets seal"
        yield Finding("warning", "secrets", text, hint)
    elif whole:
        yield ok("secrets", f"{whole}, sealed with the newest key")
