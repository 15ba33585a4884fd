"""The end of a run to an endpoint, one transaction: delete, update, insert, promote, checkpoint."""

import time
from collections.abc import Callable, Sequence

import msgspec

from relay.database import Connection
from relay.log.checkpoint import Next, following, new_token, position_at, write
from relay.log.claim import Claimed, delta_of
from relay.log.cursor import Cursor
from relay.log.reading import Reading
from relay.log.sink import Outcome, Stopped
from relay.monitoring.telemetry import Telemetry
from relay.push.item import Item
from relay.push.policy.verdict import Failures
from relay.push.requests.result import BatchResult
from relay.push.state import attempts, breaker, rows
from relay.push.target import Target


class Sent(msgspec.Struct, frozen=True):
    """A run of one cursor, when its requests have ended.

    `finished` were decided before it, `cleared` is how many rows a late acknowledgement had ended,
    and `late` are the attempts that came to nothing after their runs. `is_judged_later`: so are its
    own, by the next run.
    """

    claimed: Claimed
    target: Target
    reading: Reading | None
    result: BatchResult
    finished: Sequence[Item]
    cleared: int
    late: Failures
    is_judged_later: bool = False

    @property
    def cursor(self) -> Cursor:
        return self.claimed.cursor

    def of(self, *kinds: str) -> list[Item]:
        """Those with such a verdict."""
        settled = (*self.finished, *self.result.settled)
        return [item for item in settled if item.verdict and item.verdict.kind in kinds]

    @property
    def acked(self) -> int:
        return len(self.of("acked")) + self.cleared

    @property
    def kept(self) -> list[Item]:
        """What has to be sent again, what is in flight, and what is behind either."""
        return [*self.of("retry"), *self.result.in_flight, *self.result.behind]

    @property
    def ended(self) -> list[Item]:
        """Those that had a row, which goes."""
        return [item for item in self.of("acked", "dead", "missing") if not item.fresh]

    @property
    def has_rows(self) -> bool:
        """Whether rows of it are written or deleted."""
        return bool(self.kept or self.ended)

    @property
    def is_simple(self) -> bool:
        """Whether others in a run with it would not have to wait for its rows and dead letters."""
        return not (self.has_rows or self.finished or self.of("dead"))

    @property
    def is_read(self) -> bool:
        """Whether anything of the log was read for it."""
        if self.reading is None:
            return False
        return self.reading.after_id > delta_of(self.claimed).after_id

    @property
    def is_read_to_its_end(self) -> bool:
        """Whether all was read that the log had for it."""
        return self.reading is None or self.reading.after_id >= delta_of(self.claimed).upto_id

    @property
    def tried(self) -> list[Item]:
        """Those that were sent in vain."""
        return [item for item in self.of("dead", "retry") if item.sent_at > 0]

    @property
    def failures(self) -> Failures:
        # An open breaker has no window.
        if self.target.probing or self.is_judged_later:
            return Failures()
        tried = self.tried
        refused = [item for item in tried if item.refused]
        # A message that is refused again says no more of the endpoint than it did at first.
        first = sum(item.attempts == 0 for item in refused)
        return Failures(len(tried) - len(refused), first)

    @property
    def is_next_probe_at_once(self) -> bool:
        """Whether a half-open breaker's message was refused: the next need not wait for long."""
        return self.target.probing and any(item.refused for item in self.result.settled)


def finish(
    connection: Connection,
    sent: Sequence[Sent],
    relay: str,
    telemetry: Telemetry,
    began_at: float,
    and_then: Callable[[], None] | None = None,
) -> list[bool]:
    """Writes what became of a run, and commits. Of which of its cursors anything was written.

    `and_then` sends more in the same round trip, after the commit.

    Raises psycopg.errors.UniqueViolation where another holder wrote one of these checkpoints: the
    run is void. A connection that is lost during the commit leaves open whether it happened.
    """
    # Each takes rows of its subscription that another relay may hold: in one order everywhere.
    ordered = sorted(sent, key=_subscription_id)
    checkpoints = [_checkpoint(connection, one) for one in sent]
    for one in ordered:
        _judge(connection, one)
    made = [(one.target, item) for one in sent for item in one.result.settled]
    attempts.write(connection, made, relay)
    with connection.pipeline():
        for one in ordered:
            _write_rows(connection, one)
        moved = [
            (one.cursor, checkpoint)
            for one, checkpoint in zip(sent, checkpoints, strict=True)
            if checkpoint is not None
        ]
        if moved:
            write(connection, relay, moved)
        connection.execute("commit")
        if and_then is not None:
            and_then()
    for one, checkpoint in zip(sent, checkpoints, strict=True):
        _count(telemetry, one, checkpoint, time.monotonic() - began_at)
    attempts.count(telemetry, made)
    return [
        checkpoint is not None or one.has_rows
        for one, checkpoint in zip(sent, checkpoints, strict=True)
    ]


def _subscription_id(sent: Sent) -> int:
    return sent.target.subscription_id


def _write_rows(connection: Connection, sent: Sent) -> None:
    """Of the messages that the run did not confirm; no statement where it confirmed all."""
    cursor, endpoint, result = sent.cursor, sent.target.endpoint, sent.result
    acked, dead, missing = sent.of("acked"), sent.of("dead"), sent.of("missing")
    rows.delete(connection, cursor, [item for item in (*acked, *missing) if not item.fresh])
    for item in dead:
        rows.write_dead_letter(connection, cursor, item, park=endpoint.on_exhausted == "park")
    lease_seconds = endpoint.timeout_seconds + rows.LEASE_SLACK_SECONDS
    rows.keep(connection, cursor, sent.kept, lease_seconds)
    rows.promote(connection, cursor, [*sent.ended, *dead, *result.behind])


def _checkpoint(connection: Connection, sent: Sent) -> Next | None:
    """Where the log has got to; a run of rows alone leaves the position as it is."""
    claimed, result = sent.claimed, sent.result
    failures = sent.failures.failed + sent.late.failed
    size = sum(item.payload_bytes for item in sent.of("acked"))
    checkpoint = None
    if sent.reading is not None:
        stopped = None if result.done_id is None else Stopped(result.done_id + 1)
        outcome = Outcome(sent.acked, size, [], [], stopped)
        checkpoint = following(sent.reading, claimed, outcome)
    if checkpoint is None and (sent.acked or failures):
        here = position_at(connection, sent.cursor, claimed.n)
        checkpoint = Next(claimed.n + 1, new_token(), here, sent.acked, size)
    if checkpoint is None:
        return None
    return msgspec.structs.replace(checkpoint, failures=failures)


def _judge(connection: Connection, sent: Sent) -> None:
    target, result, failed = sent.target, sent.result, sent.failures.failed
    refused = sent.failures.refused + sent.late.refused
    if target.probing:
        if not result.in_flight:
            probes = [item for item in result.settled if item.sent_at]
            breaker.judge_probe(connection, target, probes[0] if probes else None)
    elif failed or refused or (target.failing and sent.acked):
        # What failed late was judged before the run; what was refused late counts with it.
        breaker.judge_run(connection, target, Failures(failed, refused), acked=sent.acked)
    if result.gone is not None:
        breaker.disable(connection, target, result.gone)


def _count(
    telemetry: Telemetry,
    sent: Sent,
    checkpoint: Next | None,
    seconds: float,
) -> None:
    for item in sent.of("dead"):
        reason = item.answer.error if item.answer is not None else item.reason
        telemetry.dead(sent.cursor.subscription, reason or "")
    if checkpoint is not None:
        telemetry.run_done(
            sent.cursor.subscription,
            messages=checkpoint.messages,
            bytes=checkpoint.bytes,
            seconds=seconds,
        )
