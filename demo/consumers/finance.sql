create schema finance;

-- What has been booked for an order so far.
create table finance.booked (
    order_id uuid    primary key,
    paid     numeric not null default 0
);

create table finance.wallet_transaction (
    id        bigint      generated always as identity primary key,
    order_id  uuid        not null references finance.booked,
    kind      text        not null check (kind = 'INCOME'),
    amount    numeric     not null check (amount > 0),
    currency  text        not null,
    booked_at timestamptz not null default clock_timestamp()
);
