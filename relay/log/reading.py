"""One run's way through the log: which messages come next, in which order, and where it ends."""

import time
from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from itertools import islice
from typing import LiteralString

from relay.database import Connection
from relay.log.claim import Claimed, delta_of
from relay.log.filters import Part, union
from relay.log.message import ID, MARKS, PASSED, SHARD, Row, as_sent, size, sizes
from relay.log.position import Delta, age

# What bounds a run: by the time, what has to be sent again after a crash; the others are bounds on
# memory, of what a receiver takes more slowly than it comes.
RUN_SECONDS = 1.0
RUN_MESSAGES = 50_000
RUN_BYTES = 32_000_000
# Rows that arrive together: 64 of the largest messages are 63 MB.
CHUNK_ROWS = 64
# By page, each costs a round trip: where the last one's rows were small on average, more at once,
# and never many more bytes than these.
PAGE_BYTES = 1_000_000
SMALL_ROW_BYTES = 4_000
SMALL_CHUNK_ROWS = 128
# How far one statement walks: a filter that leaves everything out must not read the whole log, and
# late messages are sorted.
SPAN_IDS = 100_000
LATE_SPAN_IDS = 20_000

# Which channels have cursors of their own stays the same while a run lasts: only the run of the
# cursor that all other channels share adds and merges them. However many they are, and whatever
# channels and types are asked for, Postgres hashes the names once for the statement: an array it
# would compare one by one with each message.

# What both statements read of a message, and which messages are the cursor's.
FIELDS: LiteralString = """
select m.id + 0 as id, m.channel, m.type, m.group_key, m.idempotency_key, m.headers, m.content_type,
       m.payload, m.created_at, m.type_version,
       case when %(replaying)s::boolean and exists (
                select from outbox.replay r
                where r.cursor_id = %(cursor)s::bigint
                  and (pg_visible_in_snapshot(m.xid, r.seen)
                       or m.id <= r.after_id and pg_visible_in_snapshot(m.xid, r.target)))
            then 1 else 0 end
       + case when %(blocking)s::boolean and exists (
                  select from outbox.delivery d
                  where d.cursor_id = %(cursor)s::bigint and d.group_key = m.group_key
                    and d.due_at is not null)
              then 2 else 0 end
       + case when %(later)s::text[] is not null then 4 * (
                  select count(*)::integer
                  from unnest((select %(later)s::text[]::pg_snapshot[])) as later (seen)
                  where pg_visible_in_snapshot(m.xid, later.seen))
              else 0 end
       + case when %(shard)s::smallint is null then
                  1024 * outbox.shard_of(m.group_key, m.id, %(shards)s::integer)
              else 0 end as marks
from outbox.message m
"""
WANTED: LiteralString = """
  and (case when %(every_channel)s::boolean then m.channel not like 'outbox.%%' else false end
       or m.channel in (select unnest(%(channels)s::text[])))
  and (%(types)s::text[] is null or m.type in (select unnest(%(types)s::text[])))
  and case when %(channel)s::text is null then m.channel not in (
               select f.channel from outbox.cursor f
               where f.subscription_id = %(subscription)s::bigint
                 and f.shard = %(shard)s::smallint and f.priority = %(priority)s::smallint
                 and f.channel is not null)
           else m.channel = %(channel)s::text end
  and (%(shards)s::integer = 1 or %(shard)s::smallint is null
       or outbox.shard_of(m.group_key, m.id, %(shards)s::integer) = %(shard)s::integer)
"""

# Late messages: their transactions were open in `seen`, and are over in `target`. Few, and each
# found by its xid.
LATE: LiteralString = """
where m.priority = %(priority)s::smallint
  and m.xid = any (array(select x from pg_snapshot_xip(%(seen)s::pg_snapshot) as x
                         where pg_visible_in_snapshot(x, %(target)s::pg_snapshot)))
  and m.id > %(after)s::bigint
  and m.id <= %(upto)s::bigint
"""
READ_LATE: LiteralString = FIELDS + LATE + WANTED + "order by m.id limit %(limit)s::integer"

# The range: everything between two ids that `target` shows and `seen` does not, streamed in the
# order of the index by id.
RANGE: LiteralString = """
where m.priority::integer = %(priority)s::integer
  and m.id + 0 > %(after)s::bigint
  and m.id + 0 <= %(upto)s::bigint
  and not pg_visible_in_snapshot(m.xid, %(seen)s::pg_snapshot)
  and pg_visible_in_snapshot(m.xid, %(target)s::pg_snapshot)
"""
READ_RANGE: LiteralString = FIELDS + RANGE + WANTED + "order by m.id + 0 limit %(limit)s::integer"

# One of these two between them: up to so many bytes, and one message at the least. Sizes are known
# without the payloads being read, and what goes beyond is not read.
PAGE_BEGINS = """
select id, channel, type, group_key, idempotency_key, headers, content_type, payload, created_at,
       type_version, marks
from (
    select page.*, sum(octet_length(payload) + coalesce(octet_length(headers), 0))
                   over (order by id rows between unbounded preceding and 1 preceding) as before
    from ("""
PAGE_ENDS = """
    ) page
) page
where coalesce(before, 0) < %(bytes)s::bigint
order by id
"""

# Ids begin anew, far on, with each partition: to walk there span by span would take hours.
NEXT_ID = """
select m.id + 0 from outbox.message m
where m.priority::integer = %(priority)s::integer
  and m.id + 0 > %(after)s::bigint and m.id + 0 <= %(end)s::bigint
order by m.id + 0
limit 1
"""


# What is told of each page that a run reads.
Look = Callable[[Sequence[Row]], None]


class Reading:
    """One run's way through the log, for cursors that go to the same target.

    Iterate over `stream()` or `pages()`, then ask `after_id` and `exhausted`. Ends at `limit`
    messages, so many ids further on where `limit_ids` is given, at RUN_BYTES or RUN_SECONDS, or
    where the sink stops taking pages. Of several cursors none has channel cursors, nor anything
    that was replayed; their subscriptions have as many shards each. What is read is new for those
    that stand farthest back: for which of the others it is new `new` tells. `blocking`, of one
    alone: rows whose group has a head in outbox.delivery are marked BLOCKED. `look` sees each page.
    """

    def __init__(
        self,
        connection: Connection,
        claims: Sequence[Claimed],
        limit: int,
        *,
        limit_ids: int | None = None,
        blocking: bool = False,
        look: Look | None = None,
    ) -> None:
        self.connection = connection
        self._look = look
        self.claims = claims
        first, deltas = claims[0], [delta_of(claimed) for claimed in claims]
        # Whatever any `seen` does not show the oldest does not show either. Each of the cursors
        # goes by the ids, so that it has done all of its own up to where the reading is.
        self._seens = sorted({claimed.position.seen for claimed in claims}, key=age)
        assert len(self._seens) <= SHARD // PASSED
        self.delta = Delta(
            deltas[0].target,
            after_id=min(delta.after_id for delta in deltas),
            fresh_id=min(delta.fresh_id for delta in deltas),
            upto_id=max(delta.upto_id for delta in deltas),
        )
        self.after_id = self.delta.after_id
        self._ends_at_id = self.delta.upto_id
        if limit_ids is not None:
            self._ends_at_id = min(self.after_id + limit_ids, self._ends_at_id)
        self._bytes = 0
        # The statement that ends a stream's savepoint: where the stream was ended early, the
        # transaction has failed down to it.
        self._after_stream: LiteralString | None = None
        self._left = limit
        self._ends_at = 0.0
        wanted = union(claimed.filter for claimed in claims)
        shards = {claimed.cursor.shard for claimed in claims}
        # Of several, each row is marked with its own.
        self._shard = first.cursor.shard if len(shards) == 1 else None
        self._parameters: dict[str, object] = {
            "cursor": first.cursor.id,
            "replaying": first.replaying,
            "blocking": blocking,
            "types": wanted.types,
            "priority": first.cursor.priority,
            "seen": self._seens[0],
            "later": self._seens[1:] or None,
            "target": self.delta.target,
            "every_channel": wanted.every_channel,
            "channels": wanted.channels,
            "subscription": first.cursor.subscription_id,
            "channel": first.cursor.channel,
            "shards": first.shards,
            "shard": self._shard,
        }

    @property
    def exhausted(self) -> bool:
        """Whether the delta has been read to its end."""
        return self.after_id >= self.delta.upto_id

    @property
    def is_full(self) -> bool:
        """Whether it has come to its limit of messages."""
        return self._left == 0

    def part(self, claimed: Claimed) -> Part:
        """What one of the cursors takes of it."""
        return Part(claimed.filter, None if self._shard is not None else claimed.cursor.shard)

    def place(self, claimed: Claimed) -> tuple[int, int]:
        """Where one of the cursors stands in it, as `new` takes that."""
        ahead = len(self._seens) - self._seens.index(claimed.position.seen)
        return ahead, delta_of(claimed).after_id

    def new(self, place: tuple[int, int], rows: list[Row]) -> list[Row]:
        """Those of the rows that a cursor there has not had."""
        ahead, after_id = place
        if ahead == len(self._seens) and after_id == self.delta.after_id:
            return rows
        return [row for row in rows if row[ID] > after_id and row[MARKS] % SHARD // PASSED < ahead]

    def end(self) -> None:
        """Makes the transaction whole again after a stream. The lock and the settings stay.

        Never in a pipeline: at a ROLLBACK psycopg gives up what it has prepared, and there it does
        so only behind the next statement, which it then takes for prepared.
        """
        if self._after_stream is not None:
            self.connection.execute(self._after_stream)
            self._after_stream = None

    def stream(self) -> Generator[list[Row]]:
        """The messages of this run in the order in which they have to go; never an empty list.

        A page that was given counts as read.
        """
        return self._stream() if self._look is None else _looked_at(self._stream(), self._look)

    def _stream(self) -> Generator[list[Row]]:
        few = True
        for statement, upto in self._spans():
            most = left = min(CHUNK_ROWS, self._left) if few else self._left
            with closing(self._read(statement, upto, most, few)) as rows:
                # No more in one page than libpq hands over together.
                while page := list(islice(rows, min(CHUNK_ROWS, left))):
                    page_bytes = sizes(page)
                    if self._bytes + page_bytes > RUN_BYTES:
                        page = self._cut(page)
                    left -= len(page)
                    self._left -= len(page)
                    self._bytes += page_bytes
                    self.after_id = page[-1][ID]
                    yield page
                    if self._bytes >= RUN_BYTES or self._is_over:
                        return
            if left > 0:
                self.after_id = upto
            few = False

    def pages(self) -> Generator[list[Row]]:
        """The same for a sink that takes them slowly and stops early.

        (A stream that is ended early costs a cancel each time.)
        """
        return self._pages() if self._look is None else _looked_at(self._pages(), self._look)

    def _pages(self) -> Generator[list[Row]]:
        most = CHUNK_ROWS
        for statement, upto in self._spans():
            limit = min(most, self._left)
            page = list(self._read(PAGE_BEGINS + statement + PAGE_ENDS, upto, limit, few=True))
            page_bytes = sizes(page)
            is_full = len(page) == limit or page_bytes >= PAGE_BYTES
            self.after_id = page[-1][ID] if is_full else upto
            self._left -= len(page)
            self._bytes += page_bytes
            most = SMALL_CHUNK_ROWS if page_bytes < SMALL_ROW_BYTES * len(page) else CHUNK_ROWS
            if page:
                yield page
            if self._bytes >= RUN_BYTES:
                return

    def _cut(self, page: list[Row]) -> list[Row]:
        """Up to the message that comes to RUN_BYTES."""
        read = self._bytes
        for place, row in enumerate(page, 1):
            read += size(row)
            if read >= RUN_BYTES:
                return page[:place]
        return page

    @property
    def _is_late(self) -> bool:
        return self.after_id < self.delta.fresh_id - 1

    @property
    def _end(self) -> int:
        """Up to which id it goes on as now."""
        return self.delta.fresh_id - 1 if self._is_late else self.delta.upto_id

    @property
    def _is_over(self) -> bool:
        return time.monotonic() >= self._ends_at

    def _spans(self) -> Generator[tuple[LiteralString, int]]:
        """Each statement that reads on, and how far, until the run or the delta is over."""
        self._ends_at = time.monotonic() + RUN_SECONDS
        while self.after_id < self._ends_at_id and self._left > 0 and not self._is_over:
            left = self._left
            yield self._span()
            if self._left == left:
                self._skip_gap()

    def _span(self) -> tuple[LiteralString, int]:
        end = min(self._end, self._ends_at_id)
        if self._is_late:
            return READ_LATE, min(self.after_id + LATE_SPAN_IDS, end)
        return READ_RANGE, min(self.after_id + SPAN_IDS, end)

    def _skip_gap(self) -> None:
        """After a span that gave nothing: goes on before the next message that there is, which may
        be beyond `limit_ids`.
        """
        if self.exhausted:
            return
        self.end()
        end = self._end
        bounds = {"priority": self._parameters["priority"], "after": self.after_id, "end": end}
        found = self.connection.execute(NEXT_ID, bounds, prepare=True).fetchone()
        self.after_id = end if found is None else found[0] - 1

    def _read(self, statement: LiteralString, upto: int, limit: int, few: bool) -> Generator[Row]:
        """Mostly there are `few`: prepared, they are read sooner than a stream would be planned."""
        with as_sent(self.connection.cursor(binary=True)) as cursor:
            bounds = {"after": self.after_id, "upto": upto, "limit": limit, "bytes": PAGE_BYTES}
            parameters = self._parameters | bounds
            if few:
                yield from cursor.execute(statement, parameters, prepare=True).fetchall()
                return
            # Ended early it is cancelled, which fails the transaction: down to here.
            self.connection.execute("savepoint reading")
            self._after_stream = "release savepoint reading"
            try:
                yield from cursor.stream(statement, parameters, binary=True, size=CHUNK_ROWS)
            except GeneratorExit:
                self._after_stream = "rollback to savepoint reading"
                raise


def _looked_at(pages: Generator[list[Row]], look: Look) -> Generator[list[Row]]:
    with closing(pages):
        for page in pages:
            look(page)
            yield page
