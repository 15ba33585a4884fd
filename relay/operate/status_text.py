"""How it stands, for people."""

from collections.abc import Sequence

from relay.monitoring.status import (
    DeadLetters,
    Endpoint,
    EventTypeFaults,
    Holder,
    Maintenance,
    PinnedPartition,
    Source,
    Status,
    Waiting,
)
from relay.monitoring.undelivered import Backlog
from relay.operate.table import duration, printable, table


def render(status: Status) -> str:
    """Tables under each other; those that would be empty are left out."""
    parts = [] if status.fault is None else [f"NO RELAY RUNS HERE: {status.fault}"]
    parts += [
        f"OTHERS WAIT: {printable(str(lock))}: outbox-relay doctor"
        for lock in (*status.table_locks, *status.row_locks)
    ]
    parts.append(_maintenance(status.maintenance))
    if status.pinned_partitions:
        parts.append(_pinned_table(status.pinned_partitions))
    parts.append(_subscription_table(status))
    if any(one.messages for one in status.backlog):
        parts.append(_backlog_table(status.backlog))
    elif not any(one.messages for one in status.undelivered):
        parts.append("everything is delivered")
    if status.endpoints:
        parts.append(_endpoint_table(status.endpoints))
    if status.waiting:
        parts.append(_waiting_table(status.waiting))
    if status.dead_letters:
        parts.append(_dead_letter_table(status.dead_letters))
    if status.sources:
        parts.append(source_table(status.sources))
    if status.event_type_faults:
        parts.append(_event_type_table(status.event_type_faults))
    if status.holders:
        parts.append(_holder_table(status.holders))
    return "\n\n".join(parts)


def _pinned_table(pinned: Sequence[PinnedPartition]) -> str:
    headers = ("partition that can't be dropped", "because")
    return table(headers, [(one.partition, one.pinned_by) for one in pinned])


def _subscription_table(status: Status) -> str:
    undelivered = {one.subscription: one for one in status.undelivered}
    rows = []
    for one in status.subscriptions:
        # None where it was made or renamed between the two looks.
        left = undelivered.get(one.name)
        rows.append(
            (
                one.name,
                _counted(left.messages, left.more) if left is not None else "",
                duration(left.oldest_age_seconds) if left is not None else "",
                one.messages_in_5_minutes,
                one.bytes_in_5_minutes,
                _ago(one.last_checkpoint_age_seconds),
                one.last_relay,
                f"paused: {one.paused_reason or 'no reason given'}" if one.paused else "",
            )
        )
    headers = ("subscription", "undelivered", "oldest", "messages in 5 min", "bytes in 5 min")
    return table((*headers, "last checkpoint", "by", ""), rows)


def _backlog_table(backlog: Sequence[Backlog]) -> str:
    return table(
        ("subscription", "priority", "backlog", "oldest"),
        [
            (
                one.subscription,
                one.priority,
                _counted(one.messages, one.more),
                duration(one.oldest_age_seconds),
            )
            for one in backlog
            if one.messages
        ],
    )


def _counted(messages: int, more: bool) -> str:
    return f"{messages}{'+' if more else ''}"


def _maintenance(noted: Maintenance) -> str:
    by = f" by {printable(noted.relay)}" if noted.relay else ""
    why = f"; the latest round failed: {printable(noted.fault)}" if noted.fault else ""
    if noted.late:
        return (
            f"MAINTENANCE HAS NOT RUN FOR {duration(noted.age_seconds)}{why}: outbox-relay doctor"
        )
    return f"maintenance ran {_ago(noted.age_seconds)}{by}{why}"


def _endpoint_table(endpoints: Sequence[Endpoint]) -> str:
    return table(
        (
            "endpoint of",
            "breaker",
            "failing for",
            "untried",
            "retrying",
            "in flight",
            "behind",
            "parked",
            "next due",
        ),
        [
            (
                one.subscription,
                one.breaker,
                duration(one.failing_seconds),
                one.untried,
                one.retrying,
                one.in_flight,
                one.behind,
                one.parked,
                _in(one.next_due_seconds),
            )
            for one in endpoints
        ],
    )


def _waiting_table(waiting: Sequence[Waiting]) -> str:
    return table(
        ("waiting channel", "of", "for", "because"),
        [(one.channel, one.subscription, duration(one.seconds), one.reason) for one in waiting],
    )


def _dead_letter_table(dead_letters: Sequence[DeadLetters]) -> str:
    return table(
        ("dead letters", "channel", "reason", "waiting", "redriven", "last"),
        [
            (
                one.subscription,
                one.channel,
                one.reason,
                one.waiting,
                one.redriven,
                one.last_died_at,
            )
            for one in dead_letters
        ],
    )


def source_table(sources: Sequence[Source]) -> str:
    """Inward connectors, for people."""
    return table(
        (
            "takes in",
            "topic",
            "of",
            "channel",
            "lag",
            "entered",
            "left out",
            "dead letters",
            "moved",
            "",
        ),
        [
            (
                one.name,
                one.topic,
                one.brokers or "own cluster",
                one.channel,
                one.lag,
                one.entered,
                one.passed,
                one.dead_letters,
                _ago(one.last_moved_age_seconds),
                _source_state(one),
            )
            for one in sources
        ],
    )


def _event_type_table(found: Sequence[EventTypeFaults]) -> str:
    return table(
        ("event type that is reported", "owner", "faults", "last", "rule", "at"),
        [
            (
                one.type,
                one.owner,
                one.faults,
                _ago(one.last_age_seconds) if one.last_age_seconds is not None else "",
                one.keyword,
                one.pointer,
            )
            for one in found
        ],
    )


def _source_state(one: Source) -> str:
    if one.paused:
        return f"paused: {one.paused_reason or 'no reason given'}"
    return f"waits: {one.waiting_reason}" if one.waiting_reason else ""


def _holder_table(holders: Sequence[Holder]) -> str:
    return table(
        ("relay at work", "subscription", "priority", "shard", "channel", "since"),
        [
            (one.relay, one.subscription, one.priority, one.shard, one.channel, _ago(one.seconds))
            for one in holders
        ],
    )


def _in(seconds: float | None) -> str:
    if seconds is None:
        return ""
    return "now" if seconds <= 0 else f"in {duration(seconds)}"


def _ago(seconds: float | None) -> str:
    return "never" if seconds is None else f"{duration(seconds)} ago"
