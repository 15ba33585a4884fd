"""How many files and connections this process may have open at once."""

import sys
from contextlib import suppress

# Enough for any relay; beyond it the relay's own memory would be the limit.
MAX_DESCRIPTORS = 65_536


def raise_limit() -> int:
    """Raises the soft limit to the hard one, and returns what it is then."""
    if sys.platform == "win32":
        return MAX_DESCRIPTORS
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MAX_DESCRIPTORS if hard == resource.RLIM_INFINITY else min(hard, MAX_DESCRIPTORS)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        # A system may grant less than its hard limit says; then the soft one stays.
        with suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
            soft = wanted
    return MAX_DESCRIPTORS if soft == resource.RLIM_INFINITY else min(soft, MAX_DESCRIPTORS)
