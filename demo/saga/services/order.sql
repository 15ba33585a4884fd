create schema shop;

-- `pending` is the semantic lock: who reads such an order knows that it may still be undone.
create table shop.customer_order (
    id           uuid        primary key,
    product      text        not null,
    quantity     integer     not null check (quantity > 0),
    amount_cents bigint      not null check (amount_cents > 0),
    status       text        not null default 'pending' check (status in ('pending', 'delivered', 'cancelled')),
    placed_at    timestamptz not null default clock_timestamp(),
    ended_at     timestamptz,
    constraint ended_unless_pending check ((status = 'pending') = (ended_at is null))
);

-- Where each saga stands. Its row stays when it has ended, so that a late reply finds it. `step` and `attempt` are those
-- of the command that was sent last. By `deadline`, on this database's clock, something is done about it, whatever comes.
create table shop.saga (
    order_id uuid        primary key references shop.customer_order,
    state    text        not null check (state in ('forward', 'backward', 'delivered', 'undone')),
    step     text        not null,
    attempt  integer     not null,
    deadline timestamptz,
    reason   text        not null default '',
    constraint deadline_until_it_has_ended check ((state in ('forward', 'backward')) = (deadline is not null))
);
create index saga_deadline on shop.saga (deadline) where deadline is not null;

create table shop.history (
    id       bigint      generated always as identity primary key,
    order_id uuid        not null references shop.customer_order,
    at       timestamptz not null default clock_timestamp(),
    event    text        not null,
    command  text        not null default '',
    detail   text        not null default ''
);
create index history_order on shop.history (order_id, id);
