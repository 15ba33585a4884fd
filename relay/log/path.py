"""The installations that a message has passed, in a header: what ends loops."""

import re
from collections.abc import Iterable
from typing import Any

NAME = "outbox-path"
# Of a longer way the end is kept.
MAX_INSTALLATIONS = 100
_INSTALLATION = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")


class OwnPath:
    """What messages say that go out from here; None where nothing comes in, so that no loop can be.

    One for a process: it is set by one thread, and read by those that send.
    """

    installation: str | None = None

    def mark(self, headers: dict[str, Any]) -> None:
        """Lets a message's own headers name this installation."""
        if self.installation is None:
            return
        came_by = headers.get(NAME)
        if came_by is None or self.installation not in came_by:
            headers[NAME] = onward(passed([came_by or ""]), self.installation)


# Of those that send where nothing comes in.
NOWHERE = OwnPath()


def passed(paths: Iterable[str]) -> list[str]:
    """The installations that these values of the header name; what else they say is no path."""
    return [one for path in paths for one in _INSTALLATION.findall(path)]


def onward(installations: Iterable[str], installation: str) -> str:
    """The header with this installation at its end."""
    before = [one for one in installations if one != installation]
    return ",".join([*before, installation][-MAX_INSTALLATIONS:])
