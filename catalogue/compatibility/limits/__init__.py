"""What a schema says of the values of one kind: read from its keywords, and two taken together.

`meet` gives None where no value keeps to both.
"""

from catalogue.compatibility.limits.arrays import Arrays, Contains, Items
from catalogue.compatibility.limits.numbers import Bound, Numbers
from catalogue.compatibility.limits.objects import Objects, Properties
from catalogue.compatibility.limits.plain import Plain
from catalogue.compatibility.limits.strings import Strings

Limits = Plain | Numbers | Strings | Arrays | Objects

__all__ = [
    "Arrays",
    "Bound",
    "Contains",
    "Items",
    "Limits",
    "Numbers",
    "Objects",
    "Plain",
    "Properties",
    "Strings",
]
