"""`outbox-relay connectors …`: channels that go to another system; listing and adding them."""

import argparse

from relay.commands import sources
from relay.commands.arguments import Subparsers, command, json_object, priority, shards
from relay.commands.connection import migrated
from relay.commands.outcome import BAD_CONFIGURATION, DONE, complain
from relay.operate import connector, source, status_text
from relay.operate.table import printable
from relay.process import terminal
from relay.settings import Settings


def add(parent: Subparsers) -> None:
    listing = command(
        parent,
        "connectors",
        "list the connectors: which channel goes to which cluster, queue or topic, and how it goes",
        "outbox-relay connectors",
        "outbox-relay connectors list --json | jq '.[] | select(.waiting_reason)'",
        "outbox-relay subscriptions pause warehouse  # a connector is a subscription as well",
    )
    listing.set_defaults(command=show_list, json=False)
    subparsers = listing.add_subparsers(title="commands", metavar="COMMAND")
    again = command(subparsers, "list", "list them", "outbox-relay connectors list --json")
    again.set_defaults(command=show_list)
    again.add_argument("--json", action="store_true", help="one JSON array")
    _add_connect(subparsers)
    sources.add(subparsers)


def _add_connect(subparsers: Subparsers) -> None:
    adding = command(
        subparsers,
        "add",
        "connect a channel to another system, from now on",
        "outbox-relay connectors add warehouse --channel orders --type kafka"
        """ --config '{"brokers": "kafka.example.com:9092"}'""",
        "outbox-relay connectors add warehouse --channel orders --type kafka --exactly-once"
        """ --config '{"brokers": "kafka.example.com:9093", "topic": "shop.orders","""
        """ "security": "ssl", "credentials": "warehouse"}'""",
        "outbox-relay connectors add shop --direction in --channel orders --type kafka"
        """ --config '{"topic": "shop.orders", "from": "earliest"}'""",
        "outbox-relay connectors add hub --channel orders --type event_hubs"
        """ --config '{"namespace": "shop", "event_hub": "orders", "credentials": "hub"}'""",
        "outbox-relay connectors add shop --channel orders --type sqs --config"
        """ '{"queue_url": "https://sqs.eu-central-1.amazonaws.com/123456789012/orders.fifo"}'""",
        "outbox-relay connectors add shop --channel orders --type pubsub"
        """ --config '{"project": "shop-prod", "credentials": "shop"}'""",
    )
    adding.set_defaults(command=connect)
    adding.add_argument("name", metavar="NAME")
    adding.add_argument("--channel", required=True)
    adding.add_argument(
        "--direction",
        choices=("out", "in"),
        default="out",
        help="in: records of a topic or messages of a queue enter the channel; out by default",
    )
    adding.add_argument(
        "--type", required=True, choices=("kafka", "event_hubs", "sqs", "pubsub"), dest="kind"
    )
    adding.add_argument(
        "--config",
        required=True,
        type=json_object,
        metavar="JSON",
        help="as outbox.kafka_setting, outbox.sqs_setting or outbox.pubsub_setting lists it; "
        "credentials are named, and never given here",
    )
    adding.add_argument(
        "--event-type", action="append", dest="types", help="only messages of it; may be repeated"
    )
    adding.add_argument("--shards", type=shards, default=1, help="1 to 64, fixed; 1 by default")
    adding.add_argument(
        "--priority",
        type=priority,
        default=3,
        help="of what enters, with direction in: 1, the highest, to 5, fixed; 3 by default",
    )
    adding.add_argument(
        "--exactly-once",
        action="store_const",
        const="exactly_once",
        default="at_least_once",
        dest="delivery",
        help="kind kafka: by transactions of that cluster; at least once by default",
    )


def show_list(settings: Settings, arguments: argparse.Namespace) -> int:
    with migrated(settings) as connection:
        found = connector.read(connection)
        inward = source.listed(connection)
    if arguments.json:
        terminal.print_json([*found, *inward])
        return DONE
    if found or not inward:
        print(connector.render(found))
    if inward:
        print(status_text.source_table(inward))
    for one in inward:
        if one.paused and one.paused_reason:
            # The table has no room for a question and what to do.
            print(f"{printable(one.name)}: {printable(one.paused_reason)}")
    return DONE


def connect(settings: Settings, arguments: argparse.Namespace) -> int:
    if arguments.direction == "in":
        return sources.connect(settings, arguments)
    if arguments.priority != 3:
        return complain(BAD_CONFIGURATION, "an outward connector takes no --priority")
    with migrated(settings) as connection:
        connector.add(
            connection,
            arguments.name,
            channel=arguments.channel,
            kind=arguments.kind,
            config=arguments.config,
            types=arguments.types,
            shards=arguments.shards,
            delivery=arguments.delivery,
        )
    print(f"{printable(arguments.name)} gets what is published from now on")
    return DONE
