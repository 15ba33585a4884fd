"""How many files and connections this process may have open at once."""

import sys
from contextlib import suppress

# Enough for anybody; beyond it the relay's own memory would be the limit.
MOST_DESCRIPTORS = 65_536


def raise_limit() -> int:
    """Raises the soft limit to the hard one, and returns what it is then."""
    if sys.platform == "win32":
        return MOST_DESCRIPTORS
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MOST_DESCRIPTORS if hard == resource.RLIM_INFINITY else min(hard, MOST_DESCRIPTORS)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        # A system may grant less than its hard limit says; then the soft one stays.
        with suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
            soft = wanted
    return MOST_DESCRIPTORS if soft == resource.RLIM_INFINITY else min(soft, MOST_DESCRIPTORS)
