"""An API key of the service, made as an operator makes one."""

import subprocess
from collections.abc import Mapping

from local.program import script
from local.server import StartError

TIMEOUT_SECONDS = 30.0


def create_key(environment: Mapping[str, str], name: str, *options: str) -> str:
    """`outbox-service keys create`, on the database of `environment`. Raises StartError.

    Not by way of a log: what is printed is the key.
    """
    try:
        created = subprocess.run(
            [script("outbox-service"), "keys", "create", "--name", name, *options],
            env=dict(environment),
            capture_output=True,
            check=True,
            text=True,
            timeout=TIMEOUT_SECONDS,
        )
    except subprocess.CalledProcessError as error:
        raise StartError(f"outbox-service keys create failed:\n{error.stderr}") from None
    except subprocess.TimeoutExpired:
        raise StartError("outbox-service keys create took too long") from None
    return created.stdout.strip()


def create_operator(environment: Mapping[str, str]) -> str:
    """A key with which the console shows and does all there is, for a week. Raises StartError."""
    scopes = ("publish", "read", "payloads", "manage", "operate")
    given = [word for scope in scopes for word in ("--scope", scope)]
    return create_key(environment, "operator", "--expires", "7d", *given)
