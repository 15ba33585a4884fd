"""Runs of many `http` subscriptions together: one claim, one read, one end for all of them."""

import time
from collections.abc import Sequence

from relay.database import Connection
from relay.keyring import CannotOpenError, Keyring, Keys
from relay.log.claim import Claimed, give_up, has_work, leave
from relay.log.claims import Claims
from relay.log.cursor import Cursor
from relay.log.reading import Reading
from relay.log.run import Ran, frozen_after_seconds
from relay.log.shared import SharedReading
from relay.monitoring.telemetry import Telemetry
from relay.push.finish import Sent, finish
from relay.push.lease import Lease
from relay.push.policy.verdict import Failures
from relay.push.requests.loop import RequestLoop
from relay.push.requests.sending import Sending
from relay.push.signing import open_keys
from relay.push.state.rate import ANY
from relay.push.subscription_state import STATE, SubscriptionState
from relay.push.target import Target
from relay.settings import Settings

# What the next run is for; and what goes alone, since it would hold up the others.
LATER = Ran(exhausted=False)
ALONE = Ran(exhausted=False, alone=True)


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
        # Cursors that were left out of the last run, since another of their subscription was in it.
        self._left_out: set[int] = set()

    def run(self, cursors: Sequence[Cursor], limit: int, *, again: bool) -> dict[int, Ran]:
        """At most `limit` messages of each; see Runs. Raises psycopg.Error."""
        try:
            claims = self._claims.take(cursors)
            return self._run(claims, limit, again=again) if claims else {}
        except BaseException:
            give_up(self._connection)
            raise

    def rest(self) -> None:
        """Gives back what is claimed for the next run."""
        self._claims.rest()

    def _run(self, claims: Sequence[Claimed], limit: int, *, again: bool) -> dict[int, Ran]:
        ran: dict[int, Ran] = {}
        chosen: dict[int, Claimed] = {}
        targets: dict[int, Target] = {}
        for claimed in sorted(claims, key=self._turn):
            cursor, state = claimed.cursor, SubscriptionState.of(claimed)
            if state.is_rescheduled:
                ran[cursor.id] = ALONE
            elif not has_work(claimed):
                ran[cursor.id] = Ran()
            elif (keys := self._keys(claimed, state)) is None:
                ran[cursor.id] = ALONE
            elif cursor.subscription_id in chosen:
                # Both would ask for the same slots.
                ran[cursor.id] = LATER
            else:
                chosen[cursor.subscription_id] = claimed
                targets[cursor.subscription_id] = _target(cursor, state, keys)
        self._left_out -= {claimed.cursor.id for claimed in claims}
        self._left_out |= {cursor_id for cursor_id, one in ran.items() if one is LATER}
        shared = SharedReading(self._connection, chosen.values(), limit)
        ran |= {claimed.cursor.id: ALONE for claimed in shared.behind}
        ran |= {claimed.cursor.id: LATER for claimed in shared.waiting}
        if not shared.claims:
            leave(self._connection)
            return ran
        of_claims = [targets[claimed.cursor.subscription_id] for claimed in shared.claims]
        return ran | self._deliver(shared, of_claims, again=again)

    def _turn(self, claimed: Claimed) -> tuple[bool, int]:
        cursor = claimed.cursor
        return cursor.id not in self._left_out, cursor.priority

    def _keys(self, claimed: Claimed, state: SubscriptionState) -> Keys | None:
        """What its requests are signed with; None where it has to go alone."""
        if not state.is_simple(claimed):
            return None
        if self._request_loop.has_late_failures(claimed.cursor.subscription_id):
            return None
        try:
            return open_keys(self._keyring, state.secrets) or None
        except CannotOpenError:
            return None

    def _deliver(
        self, shared: SharedReading, targets: Sequence[Target], *, again: bool
    ) -> dict[int, Ran]:
        began_at = self._claims.asked_at
        sending = Sending(
            self._request_loop, Lease(self._connection, self._frozen_after_seconds, began_at)
        )
        for claimed, target in zip(shared.claims, targets, strict=True):
            state = SubscriptionState.of(claimed)
            slots = self._request_loop.slots(target.subscription_id, state.made_by)
            slots.capacity = target.endpoint.concurrency
            self._telemetry.breaker(target.subscription, False)
            sending.add(target, claimed.cursor.id, slots)
        places = range(len(targets))
        results = sending.send(
            (),
            shared.turns(Reading.pages),
            lambda: [shared.of(place).after_id for place in places],
        )
        sent = [
            Sent(claimed, target, shared.of(place), result, (), 0, Failures())
            for place, (claimed, target, result) in enumerate(
                zip(shared.claims, targets, results, strict=True)
            )
        ]
        late = _left_late(sent)
        going = [one.cursor for one in sent if not (one.holds_up or one.cursor.id in late)]
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
        self._claims.keep()
        return {
            one.cursor.id: self._ran(one, progressed=progressed, late=one.cursor.id in late)
            for one, progressed in zip(sent, moved, strict=True)
        }

    def _ran(self, sent: Sent, *, progressed: bool, late: bool) -> Ran:
        assert sent.reading is not None
        return Ran(
            progressed,
            exhausted=sent.result.done_id is None and sent.reading.exhausted,
            begun=self._claims.has(sent.cursor),
            alone=late or sent.holds_up or sent.result.is_lease_over or sent.result.unable,
        )


def _left_late(sent: Sequence[Sent]) -> set[int]:
    """The cursors that had messages to send when most others had none, who waited for them."""
    late = {one.cursor.id for one in sent if one.result.unsent}
    return late if 2 * len(late) < len(sent) else set()


def _target(cursor: Cursor, state: SubscriptionState, keys: Keys) -> Target:
    return Target(
        subscription_id=cursor.subscription_id,
        subscription=cursor.subscription,
        endpoint=state.endpoint,
        keys=keys,
        clock=state.now - time.monotonic(),
        most=ANY,
    )
