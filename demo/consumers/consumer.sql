-- What came again and was ignored: written for the reckoning, a real consumer needs no such table.
create table repeated (
    idempotency_key text        not null,
    repeated_at     timestamptz not null default clock_timestamp()
);
