"""The one clock for records: UTC, to the millisecond, as text that sorts."""

from datetime import UTC, datetime


def utc_now() -> str:
    """The time now, such as `2026-11-23T10:17:00.123Z`."""
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
