"""What payloads took goes back to the system when they are freed."""

import subprocess
import sys

# Payloads between small objects that stay, after a larger one was freed, as malloc's own threshold
# follows it.
LEFT = """
from pathlib import Path
from relay.process import heap

def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096

heap.map_what_is_large()
largest = bytes(20_000_000)
del largest
before = resident()
payloads, small = [], []
for _ in range(100):
    payloads.append(b"x" * 950_000)
    small.append([b"y" * 600 for _ in range(4)])
assert resident() - before > 90_000_000
del payloads
print(resident() - before)
"""


def test_payloads_between_what_stays_go_back_to_the_system() -> None:
    ran = subprocess.run([sys.executable, "-c", LEFT], capture_output=True, text=True, check=True)
    assert int(ran.stdout) < 5_000_000
