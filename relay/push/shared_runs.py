"""Runs of many pushed subscriptions together: one claim, one read, one end for all of them."""

import time
from collections import Counter, defaultdict
from collections.abc import Sequence, Set
from typing import TYPE_CHECKING

from relay.database import Connection
from relay.keyring import CannotOpenError, Keyring, Keys
from relay.log.claim import Claimed, give_up, has_work, leave
from relay.log.claims import Claims
from relay.log.cursor import Cursor
from relay.log.run import Ran, frozen_after_seconds
from relay.log.shared import SharedReading
from relay.monitoring.telemetry import Telemetry
from relay.push.fair_turns import Owner
from relay.push.finish import Sent, finish
from relay.push.held_time import HeldTime
from relay.push.lease import Lease
from relay.push.policy.settings import Connected
from relay.push.policy.verdict import Failures
from relay.push.requests.loop import RequestLoop
from relay.push.requests.result import BatchResult
from relay.push.requests.sending import Sending
from relay.push.signing import open_keys
from relay.push.state.rate import ANY
from relay.push.subscription_state import STATE, SubscriptionState
from relay.push.target import Target
from relay.settings import Settings

if TYPE_CHECKING:
    from relay.monitoring.spans import RunSpan

# What the next run is for; and what goes alone, since it would hold up the others.
LATER = Ran(exhausted=False)
ALONE = Ran(exhausted=False, alone=True)
# Others wait until it is written what became of a message that was not acknowledged: of so many of
# each cursor at most, and of an API key's all together, however many it has made.
MAX_WINDOW = 32
KEY_WINDOW = 512


class SharedPushRuns:
    """Over one connection. What is not as simple as most goes alone, by PushRuns."""

    def __init__(
        self,
        connection: Connection,
        request_loop: RequestLoop,
        settings: Settings,
        telemetry: Telemetry,
    ) -> None:
        self._connection = connection
        self._request_loop = request_loop
        self._relay = settings.name
        self._frozen_after_seconds = frozen_after_seconds(settings)
        self._keyring = Keyring(settings.secret_keys)
        self._telemetry = telemetry
        self._claims = Claims(connection, self._relay, self._frozen_after_seconds, STATE)
        self._held_time = HeldTime()
        self._sending: Sending | None = None
        self._waiting: Set[int] = frozenset()
        # The run under way, where it has one.
        self._span: RunSpan | None = None

    def run(self, cursors: Sequence[Cursor], limit: int, *, again: bool) -> dict[int, Ran]:
        """At most `limit` messages of each; see Runs. Raises psycopg.Error."""
        spans = self._telemetry.spans
        if spans is None:
            return self._run(cursors, limit, again=again)
        names = [cursor.subscription for cursor in cursors]
        with spans.run(cursors[0].kind, names) as self._span:
            return self._run(cursors, limit, again=again)

    def _run(self, cursors: Sequence[Cursor], limit: int, *, again: bool) -> dict[int, Ran]:
        self._request_loop.has_shared_run = True
        try:
            claims = self._claims.take(cursors)
            return self._run_claimed(claims, limit, again=again) if claims else {}
        except BaseException:
            give_up(self._connection)
            raise
        finally:
            self._request_loop.has_shared_run = False
            self._waiting = frozenset()

    def rest(self) -> None:
        """Gives back what is claimed for the next run."""
        self._claims.rest()

    def give_way(self, cursor_ids: Set[int]) -> None:
        """See SharedRuns."""
        self._waiting = cursor_ids
        if (sending := self._sending) is not None:
            sending.give_way(cursor_ids)

    def _run_claimed(self, claims: Sequence[Claimed], limit: int, *, again: bool) -> dict[int, Ran]:
        ran: dict[int, Ran] = {}
        simple: list[Claimed] = []
        targets: dict[int, Target] = {}
        for claimed in claims:
            cursor, state = claimed.cursor, SubscriptionState.of(claimed)
            if state.is_rescheduled:
                ran[cursor.id] = ALONE
            elif not has_work(claimed):
                ran[cursor.id] = Ran()
            elif (keys := self._keys(claimed, state)) is None:
                ran[cursor.id] = ALONE
            else:
                simple.append(claimed)
                targets[cursor.id] = _target(cursor, state, keys)
        look = None if self._span is None else self._span.see
        shared = SharedReading(self._connection, simple, limit, look)
        ran |= {claimed.cursor.id: LATER for claimed in shared.waiting}
        if not shared.claims:
            leave(self._connection)
            return ran
        of_claims = [targets[claimed.cursor.id] for claimed in shared.claims]
        return ran | self._deliver(shared, of_claims, again=again)

    def _keys(self, claimed: Claimed, state: SubscriptionState) -> Keys | None:
        """What its requests are signed with; None where it has to go alone."""
        if not state.is_simple(claimed):
            return None
        if self._request_loop.has_late_failures(claimed.cursor.subscription_id):
            return None
        if isinstance(state.endpoint, Connected):
            session = self._request_loop.session(claimed.cursor.subscription_id, state.endpoint)
            return Keys() if session.is_open else None
        try:
            return open_keys(self._keyring, state.secrets) or None
        except CannotOpenError:
            return None

    def _deliver(
        self, shared: SharedReading, targets: Sequence[Target], *, again: bool
    ) -> dict[int, Ran]:
        began_at = self._claims.asked_at
        lease = Lease(self._connection, self._frozen_after_seconds, began_at)
        sending = Sending(self._request_loop, lease, shared=True)
        of_owner = Counter(target.owner for target in targets)
        for claimed, target in zip(shared.claims, targets, strict=True):
            slots = self._request_loop.slots(target.subscription_id, target.owner)
            slots.capacity = target.endpoint.concurrency
            window = MAX_WINDOW
            if target.owner is not None:
                window = min(window, max(KEY_WINDOW // of_owner[target.owner], 1))
            sending.add(target, claimed.cursor.id, slots, window)
        results = self._send(shared, sending)
        if self._span is not None:
            self._span.set_clock(targets[0].clock)
            self._span.send(sum(result.sent for result in results))
        sent = [
            # To judge a breaker takes a look at all runs of an hour.
            Sent(claimed, target, shared.of(place), result, (), 0, Failures(), is_judged_later=True)
            for place, (claimed, target, result) in enumerate(
                zip(shared.claims, targets, results, strict=True)
            )
        ]
        alone = self._leaving(shared, sent)
        going = [one.cursor for one in sent if one.target.subscription_id not in alone]
        try:
            moved = finish(
                self._connection,
                sent,
                self._relay,
                self._telemetry,
                began_at,
                self._claims.asking(going if again else ()),
            )
        except BaseException:
            sending.end(committed=False)
            raise
        sending.end(committed=True)
        for one in sent:
            for item in one.tried:
                self._request_loop.count_later(one.target, item)
        self._claims.keep()
        return {
            one.cursor.id: self._ran(
                one, progressed=progressed, alone=one.target.subscription_id in alone
            )
            for one, progressed in zip(sent, moved, strict=True)
        }

    def _send(self, shared: SharedReading, sending: Sending) -> list[BatchResult]:
        places = range(len(shared.claims))
        self._sending = sending
        if self._waiting:
            sending.give_way(self._waiting)
        try:
            return sending.send(
                (),
                shared.turns(),
                lambda: [shared.of(place).after_id for place in places],
            )
        finally:
            self._sending = None

    def _leaving(self, shared: SharedReading, sent: Sequence[Sent]) -> set[int]:
        """The subscriptions that go alone from now on."""
        leaving, held = _late(sent) | _late_by_owner(sent), dict[int, float]()
        for place, one in enumerate(sent):
            subscription_id, result = one.target.subscription_id, one.result
            held[subscription_id] = max(held.get(subscription_id, 0.0), result.held_seconds)
            is_odd = not one.is_simple or result.is_lease_over or result.unable
            is_odd = is_odd or result.left_dead_letter or result.away is not None
            if is_odd or shared.has_backlog(place):
                leaving.add(subscription_id)
        for subscription_id, seconds in held.items():
            if self._held_time.add(subscription_id, seconds):
                leaving.add(subscription_id)
        return leaving

    def _ran(self, sent: Sent, *, progressed: bool, alone: bool) -> Ran:
        assert sent.reading is not None
        return Ran(
            progressed,
            exhausted=sent.result.done_id is None and sent.is_read_to_its_end,
            begun=self._claims.has(sent.cursor),
            alone=alone,
        )


def _late(sent: Sequence[Sent]) -> set[int]:
    """The subscriptions that had messages to send when most others had none, who waited for them.

    Of the cursors of one, those that are less urgent may have waited for its own slots.
    """
    late = dict[int, bool]()
    for one in sent:
        if one.result.sent or one.result.unsent:
            late.setdefault(one.target.subscription_id, one.result.unsent > 0)
    found = {subscription_id for subscription_id, is_late in late.items() if is_late}
    return found if 2 * len(found) < len(late) else set()


def _late_by_owner(sent: Sequence[Sent]) -> set[int]:
    """The same of each API key's: beside what is not its own, however many it has made.

    Who has more in the log than there was time for is late as well, but for those who wait for a
    reading that another one's messages have stopped; of others those of whom nothing was read have
    waited.
    """
    stopped = {id(one.reading) for one in sent if one.result.unsent > 0}
    late = dict[int, bool]()
    more = set[int]()
    of_owner: dict[Owner, set[int]] = defaultdict(set)
    for one in sent:
        subscription_id, result = one.target.subscription_id, one.result
        of_owner[one.target.owner].add(subscription_id)
        is_short = not one.is_read_to_its_end and id(one.reading) not in stopped
        has_more = result.unsent > 0 or is_short
        if has_more and one.is_read:
            more.add(subscription_id)
        if result.sent or result.unsent or not one.is_read:
            late.setdefault(subscription_id, one.is_read and has_more)
    leaving = set[int]()
    for owner, own in of_owner.items():
        others = [late[other] for other in late.keys() - own]
        if owner is not None and 2 * sum(others) < len(others):
            leaving |= more & own
    return leaving


def _target(cursor: Cursor, state: SubscriptionState, keys: Keys) -> Target:
    return Target(
        subscription_id=cursor.subscription_id,
        subscription=cursor.subscription,
        endpoint=state.endpoint,
        keys=keys,
        clock=state.now - time.monotonic(),
        most=ANY,
        owner=state.made_by,
        installation=state.installation,
        replays=state.replays,
    )
