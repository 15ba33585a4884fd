"""From the names of brokers to the addresses that they lead to at this moment."""

import socket
import threading
import time
from collections.abc import Sequence

import msgspec

# Nothing ends a look-up before its time; the session goes on without the answer.
LOOK_UP_SECONDS = 5.0
# Look-ups at once, each a thread and a socket of this process; and those of one API key, whose
# connectors may get new names as fast as it likes.
MAX_LOOK_UPS = 256
MAX_OF_A_KEY = 32


class LookUp(msgspec.Struct):
    """Of one name; `addresses` is None until there is an answer."""

    addresses: list[str] | None = None


class LookUps:
    """Those that are under way, each in a thread of its own; used from every thread.

    They are daemons: the process has to end in time. Of each name there is one at a time for what
    one owner has made, so that connectors to a cluster whose names hang take no more, however often
    they try.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._under_way: dict[tuple[str | None, str], LookUp] = {}

    def addresses(self, hosts: Sequence[str], made_by: str | None) -> list[list[str]]:
        """The addresses of each, all looked up at once; none where that takes too long, and where
        no place came free for it. For what this API key has made; None: the operator.
        """
        ends_at = time.monotonic() + LOOK_UP_SECONDS
        asked: dict[str, LookUp] = {}
        with self._changed:
            while True:
                for host in hosts:
                    if host not in asked and (look_up := self._begin(host, made_by)) is not None:
                        asked[host] = look_up
                answers = [asked[host].addresses if host in asked else None for host in hosts]
                left = ends_at - time.monotonic()
                if left <= 0 or None not in answers:
                    return [answer or [] for answer in answers]
                self._changed.wait(left)

    def _begin(self, host: str, made_by: str | None) -> LookUp | None:
        """The look-up of this name; None: there is no place for it now."""
        known = self._under_way.get((made_by, host))
        if known is not None:
            return known
        of_key = sum(owner == made_by for owner, _ in self._under_way)
        if len(self._under_way) >= MAX_LOOK_UPS:
            return None
        if made_by is not None and of_key >= MAX_OF_A_KEY:
            return None
        begun = self._under_way[made_by, host] = LookUp()
        arguments = (host, made_by, begun)
        try:
            threading.Thread(
                target=self._find, args=arguments, name=f"look up {host}", daemon=True
            ).start()
        except RuntimeError:
            # There is no thread for it.
            self._end(host, made_by, begun, [])
        return begun

    def _find(self, host: str, made_by: str | None, begun: LookUp) -> None:
        found: list[str] = []
        try:
            answers = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
            found = sorted({str(address[0]) for *_, address in answers})
        except (OSError, UnicodeError):
            pass
        with self._changed:
            self._end(host, made_by, begun, found)

    def _end(self, host: str, made_by: str | None, begun: LookUp, found: list[str]) -> None:
        begun.addresses = found
        del self._under_way[made_by, host]
        self._changed.notify_all()
