"""What the parts of a comparison ask of the whole: to compare what stands further down."""

from typing import Protocol

from catalogue.compatibility.gap import Gap
from catalogue.compatibility.normal import Forms, Normal
from catalogue.compatibility.place import Location, Place
from catalogue.compatibility.steps import Steps

Gaps = list[Gap]


class Comparing(Protocol):
    @property
    def normal(self) -> Normal: ...

    @property
    def steps(self) -> Steps: ...

    def contained(self, writer: Location, reader: Place) -> Gaps:
        """Where values further down may go beyond."""

    def within(self, forms: Forms, reader: Place) -> Gaps:
        """Where values of these forms may go beyond."""
