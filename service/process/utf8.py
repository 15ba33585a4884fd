"""Text that the system hands over: arguments and variables, in whatever bytes they were written."""

import os


def utf8(written: str) -> str:
    """The same text, read as UTF-8 where Python's locale could not read it.

    Raises ValueError where its bytes are not UTF-8: Postgres would not take them.
    """
    try:
        written.encode()
    except UnicodeEncodeError:
        return os.fsencode(written).decode()
    return written
