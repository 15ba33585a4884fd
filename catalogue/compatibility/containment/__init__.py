"""Whether all that a writer may write is what a reader takes; a gap for each thing that is not."""

from catalogue.compatibility.containment.comparison import Comparison

__all__ = ["Comparison"]
