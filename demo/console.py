"""A demo on the console: its exit status, its errors in words, its verdict."""

import signal
from collections.abc import Callable, Iterator

import psycopg
from confluent_kafka import KafkaException
from rich.console import Console

from local.server import StartError

LINE_CHARACTERS = 100


def conduct(play: Callable[[Console], int]) -> int:
    """The exit status of what is played, of Ctrl-C, or of what doesn't start, which is printed."""
    # A shell has its background jobs ignore it, and asyncio knows how to end in order on it.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))
    console = Console()
    if not console.is_terminal:
        console = Console(width=LINE_CHARACTERS)
    try:
        return play(console)
    except KeyboardInterrupt:
        console.print("Stopped; nothing is left running.")
        return 130
    except (StartError, KafkaException, OSError, psycopg.Error) as error:
        console.print(str(error), style="red", markup=False, highlight=False)
        return 1


def print_errors(console: Console, group: BaseExceptionGroup[BaseException]) -> None:
    """Each error of a group, and of the groups in it, in a line of its own."""
    for error in _leaves(group):
        words = f"{type(error).__name__}: {error}"
        console.print(words, style="red", markup=False, highlight=False)


def print_verdict(
    console: Console, right: bool, *, orders: int, kills: int, seconds: float, seed: int
) -> None:
    """The last line of a demo, which says all of it."""
    verdict = "Everything is as it must be" if right else "SOMETHING IS OFF"
    console.print(
        f"{verdict}: {orders} orders, {kills} kills -9, {seconds:.0f} s, seed {seed}.",
        style="bold green" if right else "bold red",
        highlight=False,
    )


def _leaves(error: BaseException) -> Iterator[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        for each in error.exceptions:
            yield from _leaves(each)
    else:
        yield error
