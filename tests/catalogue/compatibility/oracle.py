"""jsonsubschema in a process of its own, since it may never come back.

As a script it is that process: a pair of schemas a line in, true, false or null a line out.
"""

import json
import selectors
import subprocess
import sys
from typing import Any, Self

Schema = Any


class Oracle:
    """Whether all that one schema takes the other takes, too."""

    def __init__(self) -> None:
        self._child = _started()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._end()

    def is_within(self, inner: Schema, outer: Schema, timeout_seconds: float = 2.0) -> bool | None:
        """None where it has no answer, or none in time."""
        stdin, stdout = self._child.stdin, self._child.stdout
        assert stdin is not None
        assert stdout is not None
        stdin.write(json.dumps([inner, outer], default=float) + "\n")
        stdin.flush()
        with selectors.DefaultSelector() as waiting:
            waiting.register(stdout, selectors.EVENT_READ)
            if not waiting.select(timeout_seconds):
                self._end()
                self._child = _started()
                return None
        answer: bool | None = json.loads(stdout.readline())
        return answer

    def _end(self) -> None:
        self._child.kill()
        self._child.communicate()


def _started() -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-W", "ignore", __file__],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )


def _answer() -> None:
    import jsonsubschema  # type: ignore[import-untyped]

    # What it prints of its own accord is no answer.
    answers, sys.stdout = sys.stdout, sys.stderr
    for line in sys.stdin:
        inner, outer = json.loads(line)
        try:
            answer = bool(jsonsubschema.isSubschema(inner, outer))
        except Exception:
            answer = None
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


if __name__ == "__main__":
    _answer()
