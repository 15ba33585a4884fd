"""What both demos show while they play."""

import time
from collections import deque

import msgspec


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
