"""How much memory this process holds."""

import gc

import psutil


def resident_bytes() -> int:
    """Return the resident memory of this process after a collection."""
    gc.collect()
    resident: int = psutil.Process().memory_info().rss
    return resident
