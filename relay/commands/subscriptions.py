"""`outbox-relay subscriptions …`: who gets what; adding, changing, pausing, ending one."""

import argparse
import sys

from relay.commands.arguments import Subparsers, command, setting
from relay.commands.connection import migrated
from relay.commands.outcome import BAD_CONFIGURATION, DONE, complain
from relay.keyring import Keyring
from relay.operate import endpoint, subscription, subscription_list
from relay.operate.table import printable
from relay.process import terminal
from relay.settings import Settings


def add(parent: Subparsers) -> None:
    listing = command(
        parent,
        "subscriptions",
        "list the subscriptions: who gets what, what waits, how the endpoints do",
        "outbox-relay subscriptions",
        "outbox-relay subscriptions --json | jq '.[] | select(.paused)'",
        "outbox-relay subscriptions pause billing --reason 'database move'",
    )
    listing.set_defaults(command=show_list)
    listing.add_argument("--json", action="store_true", help="one JSON array")
    subparsers = listing.add_subparsers(title="commands", metavar="COMMAND")
    for add_command in (
        _add_subscribe,
        _add_show,
        _add_change,
        _add_retry,
        _add_delete,
        _add_pause,
        _add_resume_and_test,
        _add_rotate,
    ):
        add_command(subparsers)


def _add_subscribe(subparsers: Subparsers) -> None:
    adding = command(
        subparsers,
        "add",
        "subscribe an HTTP endpoint to channels, from now on; shows its secret, once",
        "outbox-relay subscriptions add billing --channel orders --endpoint https://example.com/in",
        "outbox-relay subscriptions add billing --channel orders --endpoint https://example.com/in"
        " --type order.paid --setting on_exhausted=park --setting retry.max_attempts=5",
    )
    adding.set_defaults(command=subscribe)
    adding.add_argument("name", metavar="NAME")
    adding.add_argument(
        "--channel", required=True, action="append", dest="channels", help="may be repeated"
    )
    adding.add_argument("--endpoint", required=True, metavar="URL")
    _add_types(adding)
    _add_settings(adding, "as table outbox.http_setting lists them; may be repeated")


def _add_show(subparsers: Subparsers) -> None:
    showing = command(
        subparsers,
        "show",
        "show one with all its settings, the endpoint's URL whole",
        "outbox-relay subscriptions show billing",
        "outbox-relay subscriptions show billing --json | jq .settings",
    )
    showing.set_defaults(command=show)
    showing.add_argument("name", metavar="NAME")
    showing.add_argument("--json", action="store_true", help="one JSON object")


def _add_change(subparsers: Subparsers) -> None:
    changing = command(
        subparsers,
        "set",
        "change what is given, and nothing else; in force within a second or two",
        "outbox-relay subscriptions set billing --setting retry.max_attempts=5",
        "outbox-relay subscriptions set billing --setting rate_per_second=null  # the default",
        "outbox-relay subscriptions set billing --channel orders --type order.paid",
    )
    changing.set_defaults(command=change)
    changing.add_argument("name", metavar="NAME")
    changing.add_argument("--name", dest="new_name", metavar="NAME", help="call it so")
    changing.add_argument(
        "--channel", action="append", dest="channels", help="instead of its channels; repeatable"
    )
    types = changing.add_mutually_exclusive_group()
    _add_types(types)
    types.add_argument("--all-types", action="store_true", help="messages of every type")
    changing.add_argument("--endpoint", metavar="URL")
    _add_settings(
        changing,
        "as table outbox.http_setting lists them, null for the default; may be repeated",
    )


def _add_retry(subparsers: Subparsers) -> None:
    retrying = command(
        subparsers,
        "retry",
        "make due what waits for its next attempt, in order: for an endpoint that is repaired",
        "outbox-relay subscriptions retry billing",
        "outbox-relay subscriptions retry billing --group order-17",
    )
    retrying.set_defaults(command=retry)
    retrying.add_argument("name", metavar="NAME")
    retrying.add_argument("--group", metavar="KEY", help="of this group key alone")


def _add_delete(subparsers: Subparsers) -> None:
    deleting = command(
        subparsers,
        "delete",
        "end it; refused while something of it is undelivered",
        "outbox-relay subscriptions delete billing",
        "outbox-relay subscriptions delete billing --discard-undelivered",
    )
    deleting.set_defaults(command=delete)
    deleting.add_argument("name", metavar="NAME")
    deleting.add_argument(
        "--discard-undelivered", action="store_true", help="lose what it has not delivered"
    )


def _add_pause(subparsers: Subparsers) -> None:
    pausing = command(
        subparsers,
        "pause",
        "send nothing more to it; its backlog stays in the log",
        "outbox-relay subscriptions pause billing --reason 'database move'",
    )
    pausing.set_defaults(command=pause)
    pausing.add_argument("name", metavar="NAME")
    pausing.add_argument("--reason")


def _add_resume_and_test(subparsers: Subparsers) -> None:
    for name, does, chosen in (
        ("resume", "go on where it stood, with a closed breaker", resume),
        ("test", "send one test message to this endpoint alone", send_test),
    ):
        plain = command(subparsers, name, does, f"outbox-relay subscriptions {name} billing")
        plain.set_defaults(command=chosen)
        plain.add_argument("name", metavar="NAME")


def _add_rotate(subparsers: Subparsers) -> None:
    rotating = command(
        subparsers,
        "rotate-secret",
        "make a new secret, shown once; the old one serves for a day more",
        "outbox-relay subscriptions rotate-secret billing",
        "outbox-relay subscriptions rotate-secret billing --revoke-old now",
    )
    rotating.set_defaults(command=rotate_secret)
    rotating.add_argument("name", metavar="NAME")
    rotating.add_argument(
        "--revoke-old",
        choices=("now", "after_a_day"),
        default="after_a_day",
        help="how long requests are signed with the old one as well; after_a_day by default",
    )


def _add_types(parser: argparse._ActionsContainer) -> None:
    parser.add_argument(
        "--type", action="append", dest="types", help="only messages of it; may be repeated"
    )


def _add_settings(parser: argparse.ArgumentParser, words: str) -> None:
    parser.add_argument(
        "--setting",
        action="append",
        type=setting,
        default=[],
        dest="settings",
        metavar="PATH=VALUE",
        help=words,
    )


def show_list(settings: Settings, arguments: argparse.Namespace) -> int:
    with migrated(settings) as connection:
        found = subscription_list.read(connection)
    if arguments.json:
        terminal.print_json(found)
    else:
        print(subscription_list.render(found))
    return DONE


def subscribe(settings: Settings, arguments: argparse.Namespace) -> int:
    with migrated(settings) as connection:
        secret = subscription.add(
            connection,
            arguments.name,
            channels=arguments.channels,
            endpoint=arguments.endpoint,
            types=arguments.types,
            settings=dict(arguments.settings),
            keyring=Keyring(settings.secret_keys),
        )
    return _show_secret(secret)


def _show_secret(secret: str) -> int:
    print(secret)
    print("that is the secret of its signatures; it is not shown again", file=sys.stderr)
    return DONE


def pause(settings: Settings, arguments: argparse.Namespace) -> int:
    with migrated(settings) as connection:
        subscription.pause(connection, arguments.name, arguments.reason)
    print(f"{printable(arguments.name)} is paused; its backlog stays in the log")
    return DONE


def resume(settings: Settings, arguments: argparse.Namespace) -> int:
    with migrated(settings) as connection:
        subscription.resume(connection, arguments.name)
    print(f"{printable(arguments.name)} goes on")
    return DONE


def send_test(settings: Settings, arguments: argparse.Namespace) -> int:
    with migrated(settings) as connection:
        message_id = endpoint.send_test(connection, arguments.name)
    print(f"message {message_id} is on its way to {printable(arguments.name)} alone")
    return DONE


def rotate_secret(settings: Settings, arguments: argparse.Namespace) -> int:
    with migrated(settings) as connection:
        secret = endpoint.rotate_secret(
            connection,
            arguments.name,
            revoke_old=arguments.revoke_old,
            keyring=Keyring(settings.secret_keys),
        )
    return _show_secret(secret)


def show(settings: Settings, arguments: argparse.Namespace) -> int:
    with migrated(settings) as connection:
        one = subscription.read(connection, arguments.name)
    if arguments.json:
        terminal.print_json(one)
    else:
        print(subscription.render(one))
    return DONE


def change(settings: Settings, arguments: argparse.Namespace) -> int:
    named = {
        "name": arguments.new_name,
        "channels": arguments.channels,
        "types": arguments.types,
    }
    given = {name: value for name, value in named.items() if value is not None}
    if arguments.all_types:
        given["types"] = None
    chosen = dict(arguments.settings)
    if arguments.endpoint is not None:
        chosen["endpoint"] = arguments.endpoint
    if not given and not chosen:
        return complain(BAD_CONFIGURATION, "nothing to change: say --setting, --channel, --type, …")
    with migrated(settings) as connection:
        subscription.change(connection, arguments.name, given, chosen)
    print(f"{printable(arguments.name)} is changed")
    return DONE


def retry(settings: Settings, arguments: argparse.Namespace) -> int:
    with migrated(settings) as connection:
        messages = endpoint.retry(connection, arguments.name, arguments.group)
    print(f"{messages} due now; those behind them in their groups follow")
    return DONE


def delete(settings: Settings, arguments: argparse.Namespace) -> int:
    with migrated(settings) as connection:
        subscription.delete(
            connection, arguments.name, discard_undelivered=arguments.discard_undelivered
        )
    print(f"{printable(arguments.name)} is deleted")
    return DONE
