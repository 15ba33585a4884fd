"""OUTBOX_SECRET_KEY: the keys that seal endpoints' secrets, newest first."""

import re
from collections.abc import Mapping

from relay import keyring

NAME = "OUTBOX_SECRET_KEY"
_MISSPELLED = re.compile(r"OUTBOX_SECRETS?_?KEYS?(_FILE)?")


def read(environ: Mapping[str, str], faults: list[str]) -> tuple[str, ...]:
    """The keys, none where it is not set; adds a sentence to `faults` for each mistake."""
    # A misspelled name would leave every secret unsealed, and no message would say so.
    faults.extend(
        f"{name} is no setting: unset it, or write {NAME}"
        for name in environ
        if _MISSPELLED.fullmatch(name) and name != NAME
    )
    try:
        return keyring.parse(environ.get(NAME, ""))
    except ValueError as wrong:
        faults.append(f"{NAME}: {wrong}")
        return ()
