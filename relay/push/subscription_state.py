"""What a run to an endpoint goes by, as it is when the run holds the cursor."""

from collections.abc import Sequence

import msgspec

from relay.log.claim import Claimed
from relay.push.fair_turns import Owner
from relay.push.policy.settings import Receiver, decode

# A key as it is, or sealed.
Secret = tuple[bytes | None, str | None]


class SubscriptionState(msgspec.Struct, frozen=True):
    """Read with each claim, so that every change takes effect.

    `failing`: nothing has succeeded since a failure; `retrying`: some messages wait for another
    attempt; `has_heads`: of some group one will be due some time; `has_rows`: a row may block its
    group, as a parked dead letter does; `is_rescheduled`: its rows wait by another schedule from
    now on. `now` and `closed_at`, when its breaker closed, are seconds since 1970 by the
    database's clock. `installation` is there for what is no endpoint; `replays`: how often the
    cursor was set back.
    """

    endpoint: Receiver
    secrets: Sequence[Secret]
    is_open: bool
    is_half_open: bool
    failing: bool
    retrying: bool
    has_heads: bool
    has_rows: bool
    is_rescheduled: bool
    now: float
    closed_at: float
    made_by: Owner
    installation: str | None
    replays: int

    @classmethod
    def of(cls, claimed: Claimed) -> "SubscriptionState":
        """What STATE has read of a claimed cursor."""
        assert claimed.besides is not None
        settings, kind, keys, sealed, *rest = claimed.besides
        to = decode(settings, kind, claimed.cursor.sink_settings.topic)
        return cls(to, list(zip(keys, sealed, strict=True)), *rest)

    def is_simple(self, claimed: Claimed) -> bool:
        """Whether nothing of it would hold up others in one run with it."""
        return not (
            claimed.due
            or claimed.replaying
            or claimed.noted
            or self.is_open
            or self.failing
            or self.has_rows
            or self.is_rescheduled
            or self.endpoint.rate_per_second is not None
        )


# What was tried before gets slots of its own, not what is merely in flight beyond its run.
STATE = """
select c.id, s.settings::text, s.kind, x.keys, x.sealed,
       b.opened_at is not null, coalesce(b.retry_at <= clock_timestamp(), false),
       b.failing_since is not null,
       exists (select from outbox.delivery d
               where d.cursor_id = c.id and d.due_at < 'infinity'
                 and outbox.delivery_state(d.due_at, d.token, d.outcome) = 'retrying'),
       exists (select from outbox.delivery d
               where d.cursor_id = c.id and d.due_at < 'infinity'),
       exists (select from outbox.delivery d where d.cursor_id = c.id),
       exists (select from outbox.rescheduling r where r.cursor_id = c.id),
       extract(epoch from clock_timestamp())::float8,
       coalesce(extract(epoch from b.closed_at), 0)::float8,
       s.made_by,
       case when s.kind <> 'http' then (select i.id::text from outbox.installation i) end,
       c.replays
from outbox.cursor c
join outbox.subscription s on s.id = c.subscription_id
join outbox.breaker b on b.subscription_id = s.id
cross join lateral (
    select coalesce(array_agg(x.key order by x.created_at desc), '{}') as keys,
           coalesce(array_agg(x.sealed order by x.created_at desc), '{}') as sealed
    from outbox.secret x
    where x.subscription_id = s.id
      and (x.expires_at is null or x.expires_at > clock_timestamp())
) x
where c.id = any (%(cursors)s::bigint[])
"""
