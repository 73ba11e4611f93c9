"""Times, sizes and counts as a person reads them."""

from collections.abc import Mapping


def span(seconds: float) -> str:
    """A length of time: "45 s", "12 min", "3.5 h", "4.2 d"."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h" if seconds < 2 * 86400 else f"{seconds / 86400:.1f} d"


def size(n_bytes: float) -> str:
    """A size in memory or on disk: "12 MB", "3.4 GB"."""
    return f"{n_bytes / 1e6:.0f} MB" if n_bytes < 1e9 else f"{n_bytes / 1e9:.1f} GB"


def listed(counts: Mapping[str, int], *, none: str = "none") -> str:
    """Counts that aren't zero: "4 queued, 2 leased"."""
    return ", ".join(f"{number} {name}" for name, number in counts.items() if number) or none
