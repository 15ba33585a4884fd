"""The scripts. Small, so that each can be played in every order; together, what can go wrong."""

from tests.schedules.script import Script, Subscription

ONE_ROUND = ("deliver", "commit")
TWO_ROUNDS = ONE_ROUND * 2

# Both have messages that the other does not want, in the same groups.
TWO = (Subscription("s", channels=("orders",)), Subscription("t", channels=("parcels", "invoices")))
THREE = (
    Subscription("s"),
    Subscription("t", types=("moved",)),
    Subscription("u", channels=("orders",), types=("step",)),
)
STOPPING = (Subscription("s"), Subscription("t", stops_at="parcels"))

SCRIPTS = (
    Script(
        "late_commit",
        "two groups; either commits while the other is open",
        writers=(("lock a; publish a", "commit"), ("lock b; publish b", "commit")),
        readers=(TWO_ROUNDS,),
        catches=("by id",),
    ),
    Script(
        "same_group",
        "two writers of one group, several messages each, runs of one message",
        writers=(
            ("lock a", "publish a; publish a", "commit"),
            ("lock a", "publish a", "commit"),
        ),
        readers=(TWO_ROUNDS,),
        limit=1,
    ),
    Script(
        "early_xid",
        "a transaction id long before the group's row, which another may lock first",
        writers=(
            ("xid", "lock a; publish a", "commit"),
            ("lock a; publish a", "commit"),
        ),
        readers=(TWO_ROUNDS,),
        catches=("by xid",),
    ),
    Script(
        "rollback",
        "one of three rolls back, and its group goes on",
        writers=(
            ("lock a; publish a; publish a", "rollback"),
            ("lock a; publish a", "commit"),
            ("lock b; publish b", "commit"),
        ),
        readers=(ONE_ROUND,),
        catches=("by id",),
    ),
    Script(
        "savepoints",
        "what was published since a savepoint is taken back, before and after others publish",
        writers=(
            (
                "lock a; publish a",
                "savepoint; publish a; lock b; publish b",
                "rollback to; publish a",
                "commit",
            ),
            ("lock b; publish b", "commit"),
        ),
        readers=(TWO_ROUNDS,),
        limit=2,
        catches=("by id",),
    ),
    Script(
        "prepared",
        "PREPARE TRANSACTION holds the group's row until COMMIT PREPARED",
        writers=(
            ("lock a; publish a", "prepare", "commit prepared"),
            ("lock a; publish a; lock b; publish b", "commit"),
        ),
        readers=(TWO_ROUNDS,),
    ),
    Script(
        "prepared_late",
        "a prepared transaction with an early id beside another group, runs of one message",
        writers=(
            ("xid; lock a; publish a", "prepare", "commit prepared"),
            ("lock b; publish b; publish b", "commit"),
        ),
        readers=(TWO_ROUNDS,),
        limit=1,
        catches=("by id",),
    ),
    Script(
        "three_writers",
        "three writers queue for one group's row, one with an early id",
        writers=(
            ("xid", "lock a; publish a", "commit"),
            ("lock a; publish a", "commit"),
            ("lock a; publish a", "commit"),
        ),
        readers=(ONE_ROUND,),
        catches=("by xid",),
    ),
    Script(
        "many_groups",
        "three groups and channels in either transaction, runs of two messages",
        writers=(
            ("lock a; publish a", "lock b; publish b parcels; publish a parcels", "commit"),
            ("lock b; publish b", "lock c; publish c invoices; publish b", "commit"),
        ),
        readers=(TWO_ROUNDS,),
        limit=2,
        catches=("by id",),
    ),
    Script(
        "middle_of_a_delta",
        "one commits in the middle of the other's messages, runs of one message",
        writers=(
            ("lock a; publish a", "commit"),
            ("lock b; publish b", "publish b", "commit"),
        ),
        readers=(TWO_ROUNDS,),
        limit=1,
        catches=("by id",),
    ),
    Script(
        "two_relays",
        "two relays on one cursor, runs of one message",
        writers=(("lock a; publish a", "commit"), ("lock b; publish b; publish b", "commit")),
        readers=(ONE_ROUND, ONE_ROUND),
        limit=1,
        catches=("by id",),
    ),
    Script(
        "three_writers_two_relays",
        "two groups that overlap in three writers, two relays, runs of two messages",
        writers=(
            ("lock a; publish a", "commit"),
            ("lock a; publish a; lock b; publish b", "commit"),
            ("lock b; publish b; commit",),
        ),
        readers=(ONE_ROUND, ONE_ROUND),
        limit=2,
        catches=("by id",),
    ),
    Script(
        "two_shards",
        "two relays on two shards, both groups in either transaction",
        writers=(
            ("lock a; publish a; lock b; publish b", "commit"),
            ("lock a; publish a; lock b; publish b", "commit"),
        ),
        readers=(ONE_ROUND, ONE_ROUND),
        shards=2,
    ),
    Script(
        "stale_look",
        "two relays; between looking, claiming and delivering anything may happen",
        writers=(("lock a; publish a", "commit"), ("lock b; publish b; commit",)),
        readers=(("look", "start", "deliver", "commit"), ONE_ROUND),
        catches=("by id",),
    ),
    Script(
        "crash",
        "a relay dies after delivering, before its checkpoint",
        writers=(("lock a; publish a", "commit"), ("lock b; publish b; publish b", "commit")),
        readers=(("deliver", "crash", *ONE_ROUND),),
        catches=("by id",),
    ),
    Script(
        "crash_of_one_of_two",
        "one of two relays dies at its first message, the other after its last",
        writers=(
            ("lock a; publish a; publish a", "commit"),
            ("lock a; publish a", "commit"),
        ),
        readers=(("start", "crash"), ("deliver", "crash")),
        limit=2,
    ),
    Script(
        "shared_two",
        "two subscriptions of other channels in one run, both groups on either",
        writers=(
            ("lock a; publish a; publish a parcels", "commit"),
            ("lock b; publish b invoices; publish b", "commit"),
        ),
        readers=(TWO_ROUNDS,),
        subscriptions=TWO,
    ),
    Script(
        "shared_three",
        "three subscriptions of other channels and types in one run, runs of two messages",
        writers=(
            ("lock a; publish a; publish a type:moved", "commit"),
            ("lock a; publish a parcels type:moved; publish a type:closed", "commit"),
        ),
        readers=(TWO_ROUNDS,),
        limit=2,
        subscriptions=THREE,
    ),
    Script(
        "shared_steps",
        "three subscriptions; at each step of their run anything may happen",
        writers=(
            ("lock a; publish a; publish a type:moved", "commit"),
            ("lock b; publish b; commit",),
        ),
        readers=(("look", "claim", "start", "deliver", "commit"),),
        subscriptions=THREE,
    ),
    Script(
        "shared_priorities",
        "two subscriptions, each with two priorities, runs of one message",
        writers=(
            ("lock a; publish a; publish a parcels", "commit"),
            ("lock b; publish b 1; publish b parcels 1", "commit"),
        ),
        readers=(TWO_ROUNDS,),
        limit=1,
        subscriptions=TWO,
    ),
    Script(
        "shared_two_relays",
        "two relays run the same two subscriptions, and each takes what the other does not hold",
        writers=(
            ("lock a; publish a; publish a parcels", "commit"),
            ("lock b; publish b 1; publish b parcels 1; commit",),
        ),
        readers=(TWO_ROUNDS, ONE_ROUND),
        limit=1,
        subscriptions=TWO,
    ),
    Script(
        "shared_and_taken",
        "another relay takes one of the two alone, and leaves it at another place",
        writers=(
            ("lock a; publish a; publish a parcels", "commit"),
            ("lock a; publish a parcels; commit",),
        ),
        readers=(TWO_ROUNDS,),
        lone=ONE_ROUND,
        limit=1,
        subscriptions=TWO,
    ),
    Script(
        "shared_and_left",
        "one stops at a message, goes alone and joins the other again",
        writers=(
            ("lock a; publish a; publish a parcels; publish a", "commit"),
            ("lock a; publish a; commit",),
        ),
        readers=(TWO_ROUNDS,),
        lone=ONE_ROUND,
        subscriptions=STOPPING,
    ),
    Script(
        "shared_crash_before_delivery",
        "a relay dies with three claimed, and again with its first message in hand",
        writers=(("lock a; publish a", "commit"), ("lock a; publish a type:moved", "commit")),
        readers=(("claim", "crash", "start", "crash"),),
        subscriptions=THREE,
    ),
    Script(
        "shared_crash_after_delivery",
        "a relay dies after delivering to both, before their checkpoints",
        writers=(
            ("lock a; publish a; publish a parcels", "commit"),
            ("lock b; publish b invoices; publish b", "commit"),
        ),
        readers=(("deliver", "crash", *ONE_ROUND),),
        subscriptions=TWO,
    ),
    Script(
        "shared_crash_with_a_claim_ahead",
        "a relay dies after its commit, with both claimed for the next run of one message",
        writers=(
            ("lock a; publish a; publish a parcels", "commit"),
            ("lock b; publish b", "commit"),
        ),
        readers=(("deliver", "commit", "crash", *ONE_ROUND),),
        limit=1,
        subscriptions=TWO,
    ),
)
