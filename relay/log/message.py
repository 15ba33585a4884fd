"""A message of the log, as a relay reads it."""

# One message as it stands in the log: (id, channel, type, group_key, idempotency_key, headers,
# content_type, payload, created_at, marks). Text comes as the bytes of its UTF-8, since that is
# what a sink sends. `headers` is a JSON object of strings or None. `created_at` is microseconds
# since 2000-01-01 UTC, as Postgres counts. `marks` is a sum of the two below, or 0.
Row = tuple[int, bytes, bytes, bytes | None, bytes, bytes | None, bytes, bytes, int, int]

# The cursor was set back, and had this message before; it says so in a header.
REPLAYED = 1
REPLAYED_HEADER = "replayed"

# A message of its group waits in outbox.delivery, and it has to wait behind it.
BLOCKED = 2

POSTGRES_EPOCH_SECONDS = 946_684_800
