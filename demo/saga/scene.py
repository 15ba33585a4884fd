"""Everything that can be seen of the saga's demo at a moment."""

from demo.performance import Performance
from demo.saga.fleet import Fleet
from demo.saga.gauges import Gauges


class Scene(Performance, kw_only=True):
    fleet: Fleet
    gauges: Gauges | None = None
