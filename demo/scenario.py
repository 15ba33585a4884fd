"""What happens, and when: orders are paid, processes are killed, transactions are rolled back."""

import asyncio
import time
from collections import deque
from collections.abc import Sequence
from random import Random

import psycopg
from psycopg import AsyncConnection

from demo.fleet import SERVICES, Fleet
from demo.gauges import Gauges, Instruments
from demo.places import Places
from demo.plan import Kill, Story
from demo.provider import Provider
from demo.scene import Scene, Screen
from demo.subscriptions import SUBSCRIBERS, Subscriptions
from demo.till import Till
from demo.troubles import fail_for_a_while, redrive_the_poisoned

LOOK_INTERVAL_SECONDS = 0.5
CHANGE_OF_MIND_INTERVAL_SECONDS = 0.3
SETTLE_SECONDS = 60.0
CONNECT_SECONDS = 30.0
WATCHED_ORDERS = 12


async def play(
    places: Places,
    fleet: Fleet,
    stories: Sequence[Story],
    kills: Sequence[Kill],
    random: Random,
    till: Till,
    screen: Screen,
) -> Sequence[Story]:
    """Plays the stories, then waits until all of it has arrived everywhere; returns the played.

    Raises, alone or in an ExceptionGroup, TimeoutError where something doesn't arrive, StartError
    for a process that died unasked, Refused for a webhook that the service wouldn't have, ApiError.
    """
    provider = Provider(fleet.service_urls, random)
    subscriptions = Subscriptions(fleet.service_urls, fleet.create_key())
    scene = Scene(
        phase="starting the processes",
        fleet=fleet,
        provider=provider,
        till=till,
        orders=len(stories),
    )
    try:
        with Instruments(places) as instruments:
            async with asyncio.TaskGroup() as background:
                show = background.create_task(_show(scene, instruments, screen))
                await _start(fleet, subscriptions)
                displays = await _orders_and_kills(
                    scene, places, stories, kills, subscriptions, background
                )
                scene.ended = True
                await show
                scene.phase = "the last messages are on their way"
                async with asyncio.timeout(SETTLE_SECONDS):
                    await _settle(scene, instruments, screen)
                for display in displays:
                    display.cancel()
    finally:
        await provider.close()
        await subscriptions.close()
    return scene.played


async def _start(fleet: Fleet, subscriptions: Subscriptions) -> None:
    """The services first: with them subscribers subscribe, and only then they know their secrets.

    The connectors are made meanwhile. No customer pays before all are there.
    """
    connecting = asyncio.to_thread(fleet.connect)
    await asyncio.gather(connecting, _launch(fleet, SERVICES))
    for name in SUBSCRIBERS:
        endpoint = f"{fleet.subscriber_urls[name]}/webhooks"
        fleet.equip(name, await subscriptions.subscribe(name, endpoint))
    await _launch(fleet, [name for name in fleet.programs if name not in SERVICES])


async def _launch(fleet: Fleet, names: Sequence[str]) -> None:
    async with asyncio.TaskGroup() as starts:
        for name in names:
            starts.create_task(asyncio.to_thread(fleet.launch, name))


async def _orders_and_kills(
    scene: Scene,
    places: Places,
    stories: Sequence[Story],
    kills: Sequence[Kill],
    subscriptions: Subscriptions,
    background: asyncio.TaskGroup,
) -> list[asyncio.Task[None]]:
    """Returns the displays, which go on watching."""
    scene.phase = "orders are paid, processes are killed"
    displays: list[asyncio.Task[None]] = []
    turns = {name: asyncio.Lock() for name in scene.fleet.programs}
    due = deque(kills)
    async with asyncio.TaskGroup() as events:

        async def on_order(order_id: str) -> None:
            if len(displays) < WATCHED_ORDERS:
                display = scene.till.display(order_id)
                displays.append(background.create_task(display.watch()))
                async with asyncio.timeout(CONNECT_SECONDS):
                    await display.connected.wait()

        def on_done(stories_done: int) -> None:
            while due and due[0].after_orders <= stories_done:
                victim = due.popleft().victim
                events.create_task(_kill(scene, victim, turns[victim]))

        events.create_task(fail_for_a_while(scene, subscriptions))
        events.create_task(redrive_the_poisoned(scene, subscriptions))
        minds = events.create_task(change_minds(places))
        scene.played = await scene.provider.play(stories, on_order, on_done)
        minds.cancel()
    return displays


async def _kill(scene: Scene, victim: str, turn: asyncio.Lock) -> None:
    """Kills and starts again; a victim that is still starting is killed when it is back."""
    async with turn:
        await asyncio.to_thread(scene.fleet.kill, victim)
        scene.tell(f"kill -9 {victim}")
        killed = time.monotonic()
        await asyncio.to_thread(scene.fleet.launch, victim)
        scene.tell(f"{victim} is back after {time.monotonic() - killed:.1f} s")


# Examples of two types: consumers and subscribers would take them for a sale, if they ever came.
PUBLISH = """
    select outbox.publish(channels[1], type, example::json, group_key => 'rolled back')
    from outbox.event_type
    where type in ('payment.success', 'order.paid')
"""
PUBLISH_UNFIT = """
    select outbox.publish('payment.success', 'payment.success', '{}', group_key => 'refused')
"""
UNFIT = "OB422"
PUBLISH_STOCK = """
    select outbox.publish('inventory.updates', 'stock.changed', '{}', group_key => 'rolled back')
"""


async def change_minds(places: Places) -> None:
    """Publishes and rolls back, over and over, or is refused: none of it may ever be seen."""
    async with (
        await AsyncConnection.connect(places.sale, autocommit=True) as sale,
        await AsyncConnection.connect(places.books["inventory"], autocommit=True) as inventory,
    ):
        while True:
            async with sale.transaction(force_rollback=True):
                await sale.execute(PUBLISH)
            async with inventory.transaction(force_rollback=True):
                await inventory.execute(PUBLISH_STOCK)
            try:
                async with sale.transaction():
                    await sale.execute(PUBLISH)
                    await sale.execute(PUBLISH_UNFIT)
            except psycopg.Error as refusal:
                if refusal.sqlstate != UNFIT:
                    raise
            await asyncio.sleep(CHANGE_OF_MIND_INTERVAL_SECONDS)


async def _show(scene: Scene, instruments: Instruments, screen: Screen) -> None:
    while not scene.ended:
        await _look(scene, instruments, screen)
        await asyncio.sleep(LOOK_INTERVAL_SECONDS)


async def _settle(scene: Scene, instruments: Instruments, screen: Screen) -> None:
    """Looks until everything has arrived everywhere."""
    gauges = await _look(scene, instruments, screen)
    while not gauges.settled or scene.till.told != scene.till.due:
        await asyncio.sleep(LOOK_INTERVAL_SECONDS / 2)
        gauges = await _look(scene, instruments, screen)


async def _look(scene: Scene, instruments: Instruments, screen: Screen) -> Gauges:
    scene.fleet.check()
    gauges = await asyncio.to_thread(instruments.read)
    scene.gauges = gauges
    screen(scene)
    return gauges
