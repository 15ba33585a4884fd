"""What happens, and when: customers order and cancel while processes are killed."""

import asyncio
import time
from collections.abc import Callable, Iterable, Sequence

from demo.saga.customers import Customers
from demo.saga.fleet import Fleet
from demo.saga.gauges import Gauges, Instruments
from demo.saga.places import Places
from demo.saga.scene import Scene
from demo.saga.troubles import Trouble
from demo.waiting import until

LOOK_INTERVAL_SECONDS = 0.4
SETTLE_SECONDS = 90.0

Screen = Callable[[Scene], None]


async def play(
    places: Places,
    fleet: Fleet,
    customers: Customers,
    troubles: Sequence[Trouble],
    screen: Screen,
) -> None:
    """Until the last order has ended and the last message has arrived.

    Raises, alone or in an ExceptionGroup, TimeoutError where something never ends, StartError for a
    process that died unasked, NotServed for a customer.
    """
    scene = Scene(phase="starting the processes", orders=len(customers.purchases), fleet=fleet)
    try:
        with Instruments(places) as instruments:
            await _launch(fleet, fleet.programs)
            scene.phase = "customers order, processes are killed"
            async with asyncio.TaskGroup() as tasks:
                look = tasks.create_task(_look_on(scene, instruments, screen))
                await _orders_and_kills(scene, customers, troubles)
                scene.ended = True
                await look
            scene.phase = "the last orders are on their way"

            async def is_settled() -> bool:
                return (await _look(scene, instruments, screen)).settled

            async with asyncio.timeout(SETTLE_SECONDS):
                await until(is_settled)
    finally:
        await customers.close()


async def _launch(fleet: Fleet, names: Iterable[str]) -> None:
    async with asyncio.TaskGroup() as starts:
        for name in names:
            starts.create_task(asyncio.to_thread(fleet.launch, name))


async def _orders_and_kills(
    scene: Scene, customers: Customers, troubles: Sequence[Trouble]
) -> None:
    turns = {name: asyncio.Lock() for name in scene.fleet.programs}
    async with asyncio.TaskGroup() as events:

        def pending() -> int:
            ended = scene.gauges.ended if scene.gauges else 0
            return len(customers.ordered) - ended

        events.create_task(customers.shop(pending))
        for trouble in troubles:

            async def is_due(orders: int = trouble.after_orders) -> bool:
                ended = scene.gauges.ended if scene.gauges else 0
                return customers.have_gone or ended >= orders

            await until(is_due)
            events.create_task(_trouble(scene, trouble, turns))


async def _trouble(scene: Scene, trouble: Trouble, turns: dict[str, asyncio.Lock]) -> None:
    """Kills and starts again; who is still starting is killed when it is back."""
    for victim in trouble.victims:
        await turns[victim].acquire()
    try:
        for victim in trouble.victims:
            await asyncio.to_thread(scene.fleet.kill, victim)
        away = f", away for {trouble.away_seconds:.0f} s" if trouble.away_seconds else ""
        who = "all four services" if len(trouble.victims) > 1 else trouble.victims[0]
        scene.tell(f"kill -9 {who}{away}")
        killed = time.monotonic()
        await asyncio.sleep(trouble.away_seconds)
        await _launch(scene.fleet, trouble.victims)
        scene.tell(f"{who} back after {time.monotonic() - killed:.1f} s")
    finally:
        for victim in trouble.victims:
            turns[victim].release()


async def _look_on(scene: Scene, instruments: Instruments, screen: Screen) -> None:
    while not scene.ended:
        await _look(scene, instruments, screen)
        await asyncio.sleep(LOOK_INTERVAL_SECONDS)


async def _look(scene: Scene, instruments: Instruments, screen: Screen) -> Gauges:
    scene.fleet.check()
    gauges = await asyncio.to_thread(instruments.read)
    scene.gauges = gauges
    screen(scene)
    return gauges
