"""Where a writer goes beyond what a reader takes."""

from collections.abc import Mapping
from typing import NamedTuple


class Gap(NamedTuple):
    """`subject` is a rule without its direction; the pointers lead into the two schemas."""

    subject: str
    writer: str
    reader: str
    # What the sentence about it names.
    words: Mapping[str, str]
