"""Everything that can be seen of the demo at a moment."""

import time
from collections import deque
from collections.abc import Callable, Sequence

import msgspec

from demo.fleet import Fleet
from demo.gauges import Gauges
from demo.plan import Story
from demo.provider import Provider
from demo.till import Till


class Scene(msgspec.Struct):
    """`played` is empty until the last order is through; `news` are events, the newest last."""

    phase: str
    fleet: Fleet
    provider: Provider
    till: Till
    orders: int
    began: float
    ended: bool = False
    played: Sequence[Story] = ()
    gauges: Gauges | None = None
    news: deque[str] = msgspec.field(default_factory=lambda: deque(maxlen=3))

    @property
    def seconds(self) -> float:
        return time.monotonic() - self.began

    def tell(self, event: str) -> None:
        self.news.append(f"{self.seconds:5.1f} s  {event}")


Screen = Callable[[Scene], None]
