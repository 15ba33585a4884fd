"""What is printed, on a terminal or into a pipe of any encoding."""

import codecs
import io
import sys

# As close as ASCII comes.
PLAIN = {"…": "...", "→": "->"}
ERRORS = "outbox.terminal"


def prepare() -> None:
    """From here on nothing that is printed fails: what an encoding lacks is written as \\uXXXX."""
    codecs.register_error(ERRORS, _written)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors=ERRORS)


def _written(fault: UnicodeError) -> tuple[str, int]:
    if not isinstance(fault, UnicodeEncodeError):
        raise fault
    lacking = fault.object[fault.start : fault.end]
    return "".join(PLAIN.get(one) or _escaped(one) for one in lacking), fault.end


def _escaped(character: str) -> str:
    digits = character.encode("utf-16-be", "surrogatepass").hex()
    return "".join(f"\\u{digits[at : at + 4]}" for at in range(0, len(digits), 4))
