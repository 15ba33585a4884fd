"""The filters of subscriptions, as they were read last over one connection."""

from collections.abc import Iterable

from relay.log.filters import Filter

# Beyond so many, those are forgotten that are not asked for.
MAX_KNOWN = 1000


class KnownFilters:
    """By the versions of their subscriptions' rows: the transaction that wrote one names it.

    A hundred types of a hundred subscriptions are megabytes, so who asks for subscriptions says
    which versions it knows, and gets the filters of the others. Of one connection: another may be
    to a server that lost transactions in a failover, and names others alike.
    """

    def __init__(self) -> None:
        self._known: dict[int, tuple[str, Filter]] = {}

    def versions(self, subscription_ids: Iterable[int]) -> list[str]:
        """Those that are known: each an id, a blank and the row's xmin."""
        asked = {one: self._known[one] for one in subscription_ids if one in self._known}
        if len(self._known) > MAX_KNOWN:
            self._known = dict(asked)
        return [f"{one} {version}" for one, (version, _) in asked.items()]

    def filter(
        self,
        subscription_id: int,
        version: str,
        channels: Iterable[str] | None,
        types: Iterable[str] | None,
    ) -> Filter:
        """That of one which was asked for with `versions`; the columns count where it is not
        known.
        """
        known = self._known.get(subscription_id)
        if known is None or known[0] != version:
            known = self._known[subscription_id] = version, Filter.of(channels, types)
        return known[1]
