"""What the kernel's control groups, versions 1 and 2, grant this process at each level above it."""

import re
from collections.abc import Iterator
from pathlib import Path

_UNLIMITED = 1 << 60
_ESCAPE = re.compile(r"\\([0-7]{3})")


def cpu_quotas(proc_root: Path = Path("/proc")) -> Iterator[tuple[float, str]]:
    """Cores granted by each quota that is set, with the group's folder."""
    for folder, version in _groups(proc_root, "cpu"):
        if version == 2:
            quota, _, period = _text(folder / "cpu.max").partition(" ")
        else:
            quota, period = _text(folder / "cpu.cfs_quota_us"), _text(folder / "cpu.cfs_period_us")
        if quota.isdigit() and period.isdigit() and int(period) > 0 and int(quota) > 0:
            yield int(quota) / int(period), str(folder)


def memory_left(proc_root: Path = Path("/proc")) -> Iterator[tuple[int, str]]:
    """Bytes left under each memory limit that is set, with the group's folder. Idle page cache counts as left."""
    for folder, version in _groups(proc_root, "memory"):
        limit_file, used_file, idle_field = (
            ("memory.max", "memory.current", "inactive_file")
            if version == 2
            else ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
        )
        limit = _text(folder / limit_file)
        if limit.isdigit() and int(limit) < _UNLIMITED:
            used = _number(_text(folder / used_file)) - _field(_text(folder / "memory.stat"), idle_field)
            yield max(0, int(limit) - max(0, used)), str(folder)


def _groups(proc_root: Path, controller: str) -> Iterator[tuple[Path, int]]:
    """Folders of the process's groups for a controller, from its own group up to the mount, with their version."""
    paths = _own_paths(proc_root)
    for mount, root, controllers in _mounts(proc_root):
        version = 2 if controllers is None else 1
        key = "" if controllers is None else controller
        if key not in paths or not (controllers is None or controller in controllers):
            continue
        # A container may see the whole tree's path but only its own branch mounted.
        inner = paths[key].removeprefix(root.rstrip("/")).lstrip("/")
        folder = mount / inner if ".." not in inner.split("/") else mount
        while True:
            yield folder, version
            if folder == mount:
                break
            folder = folder.parent


def _own_paths(proc_root: Path) -> dict[str, str]:
    """The process's group by controller; that of version 2 under an empty name."""
    paths = {}
    for line in _text(proc_root / "self" / "cgroup").splitlines():
        fields = line.split(":", 2)
        if len(fields) == 3:
            paths.update(dict.fromkeys(fields[1].split(","), fields[2]))
    return paths


def _mounts(proc_root: Path) -> Iterator[tuple[Path, str, frozenset[str] | None]]:
    """Mounted group trees: where, of which root, and version 1's controllers or None."""
    for line in _text(proc_root / "self" / "mountinfo").splitlines():
        before, _, after = line.partition(" - ")
        fields, kind = before.split(" "), after.split(" ")
        if len(fields) < 6 or kind[0] not in ("cgroup", "cgroup2"):
            continue
        controllers = frozenset(kind[-1].split(",")) if kind[0] == "cgroup" else None
        yield Path(_unescape(fields[4])), _unescape(fields[3]), controllers


def _unescape(path: str) -> str:
    return _ESCAPE.sub(lambda match: chr(int(match[1], 8)), path)


def _text(path: Path) -> str:
    try:
        return path.read_text().strip()
    except (OSError, UnicodeDecodeError):
        return ""


def _number(text: str) -> int:
    return int(text) if text.isdigit() else 0


def _field(text: str, name: str) -> int:
    for line in text.splitlines():
        key, _, value = line.partition(" ")
        if key == name:
            return _number(value)
    return 0
