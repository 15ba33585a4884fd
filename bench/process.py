"""What the kernel knows about a process, from /proc."""

import os
from pathlib import Path

TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
# Of /proc/<pid>/stat, counted behind the command's name: see proc_pid_stat(5).
PARENT, USER, SYSTEM, CHILDREN_USER, CHILDREN_SYSTEM = 1, 11, 12, 13, 14


def _stat(pid: int) -> list[str]:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()


def family(pid: int) -> list[int]:
    """The process and its children of now."""
    pids = [pid]
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                parent = int(_stat(int(entry.name))[PARENT])
            except (FileNotFoundError, ProcessLookupError):
                continue
            if parent == pid:
                pids.append(int(entry.name))
    return pids


def cpu_seconds(pid: int) -> float:
    """What the process and its children used so far, those that have ended included."""
    while True:
        own = _stat(pid)
        ended = int(own[CHILDREN_USER]) + int(own[CHILDREN_SYSTEM])
        ticks = ended
        for one in family(pid):
            try:
                fields = _stat(one)
            except (FileNotFoundError, ProcessLookupError):
                continue
            ticks += int(fields[USER]) + int(fields[SYSTEM])
        own = _stat(pid)
        # One that was reaped meanwhile would be counted in neither place, or in both.
        if int(own[CHILDREN_USER]) + int(own[CHILDREN_SYSTEM]) == ended:
            return ticks / TICKS_PER_SECOND


def peak_memory_bytes(pid: int) -> int:
    """VmHWM: the most that was ever resident."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        name, _, value = line.partition(":")
        if name == "VmHWM":
            return int(value.split()[0]) * 1024
    raise RuntimeError(f"process {pid} says no VmHWM")
