"""Which machine it is, in a few words for whoever reads the figures."""

import os
import platform
import re
from importlib.metadata import version
from pathlib import Path

MODEL = re.compile(r"^model name\s*:\s*(.*)$", re.MULTILINE)


def machine() -> str:
    """Cores and their make, and what runs on them."""
    found = MODEL.search(Path("/proc/cpuinfo").read_text())
    make = found[1] if found else platform.machine()
    librdkafka = version("confluent-kafka")
    return (
        f"{os.cpu_count()} cores of {make}, which carry everything, PostgreSQL 18, Python "
        f"{platform.python_version()}, confluent-kafka {librdkafka}"
    )
