"""Promises of how a demo ends on the console."""

import subprocess
import sys

PLAY = """
import asyncio, signal
from demo.console import conduct

# As a shell does with what it starts in the background.
signal.signal(signal.SIGINT, signal.SIG_IGN)

def play(console):
    async def forever():
        try:
            signal.raise_signal(signal.SIGTERM)
            await asyncio.sleep(60)
        finally:
            print("put away")
    asyncio.run(forever())
    return 0

raise SystemExit(conduct(play))
"""


def test_a_demo_in_the_background_that_is_terminated_puts_its_things_away() -> None:
    ended = subprocess.run(
        [sys.executable, "-c", PLAY], capture_output=True, text=True, timeout=50, check=False
    )
    assert (ended.returncode, ended.stderr) == (130, "")
    assert ended.stdout == "put away\nStopped; nothing is left running.\n"
