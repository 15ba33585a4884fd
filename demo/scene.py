"""Everything that can be seen of the demo at a moment."""

from collections.abc import Callable, Sequence

from demo.fleet import Fleet
from demo.gauges import Gauges
from demo.performance import Performance
from demo.plan import Story
from demo.provider import Provider
from demo.till import Till


class Scene(Performance, kw_only=True):
    """`played` is empty until the last order is through."""

    fleet: Fleet
    provider: Provider
    till: Till
    played: Sequence[Story] = ()
    gauges: Gauges | None = None


Screen = Callable[[Scene], None]
