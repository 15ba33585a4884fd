-- What came again and was ignored: written for the reckoning, a real consumer need not care.
create table repeated (
    idempotency_key text        not null,
    repeated_at     timestamptz not null default clock_timestamp()
);
