create schema payment;

-- One row for each order. `asked` and `returning`: the provider has been, or will be, asked and its answer is not known;
-- these rows are the work that is left to do, whatever process dies. A `tombstone` was refunded before it was charged.
-- `charge` and `refund` are the latest commands, to be answered once the provider has said what became of them.
create table payment.charge (
    order_id     uuid   primary key,
    amount_cents bigint not null,
    state        text   not null
        check (state in ('new', 'asked', 'charged', 'declined', 'returning', 'refunded', 'tombstone')),
    charge       bytea,
    refund       bytea
);
create index charge_open on payment.charge (order_id) where state in ('asked', 'returning');
