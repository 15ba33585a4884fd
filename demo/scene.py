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


class Performance(msgspec.Struct, kw_only=True):
    """What is played, and since when; `news` are events, the newest last."""

    phase: str
    orders: int
    began: float = msgspec.field(default_factory=time.monotonic)
    ended: bool = False
    news: deque[str] = msgspec.field(default_factory=lambda: deque(maxlen=3))

    @property
    def seconds(self) -> float:
        return time.monotonic() - self.began

    def tell(self, event: str) -> None:
        self.news.append(f"{self.seconds:5.1f} s  {event}")


class Scene(Performance, kw_only=True):
    """`played` is empty until the last order is through."""

    fleet: Fleet
    provider: Provider
    till: Till
    played: Sequence[Story] = ()
    gauges: Gauges | None = None


Screen = Callable[[Scene], None]
