"""How this process gets its memory from the system, and gives it back."""

import ctypes
import gc
import sys

# Of mallopt(3). What is larger has a mapping of its own; of the heap's end so much may lie idle.
M_TRIM_THRESHOLD, TRIM_BYTES = -1, 4 * 1024 * 1024
M_MMAP_THRESHOLD, MAPPED_BYTES = -3, 128 * 1024


def collect_seldom() -> None:
    """Messages and records make many objects and few cycles: by its own measure the collector would
    take a tenth of the time to look through them.
    """
    gc.set_threshold(20_000, 20, 20)


def map_what_is_large() -> None:
    """Payloads go back to the system as they are freed.

    Left alone, glibc raises the threshold with the first mapping that is freed, up to 32 MiB; from
    then on payloads lie between small objects, and what is free there stays the process's. Other C
    libraries go their own ways, and are left alone.
    """
    if sys.platform != "linux":
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(M_MMAP_THRESHOLD, MAPPED_BYTES)
        mallopt(M_TRIM_THRESHOLD, TRIM_BYTES)
