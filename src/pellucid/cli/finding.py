"""Which tasks a person means who names a scan by pseudonym or key."""

import re
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from pellucid.cli.errors import LaneUnknown, ScanUnknown

if TYPE_CHECKING:
    from pellucid.records import Records, Task

_KEY = re.compile(r"[0-9a-f]{8,64}")
_COUNTERS = 4  # so many candidates of a pseudonym are tried; a second one is needed once in a million million names


def scan_name(records: "Records", task: "Task") -> str:
    """The pseudonym under which a task's scan is shown."""
    return records.pseudonym("scan", task.scan_digest or task.key)


def find_tasks(records: "Records", names: Sequence[str], *, lane: str | None = None) -> list["Task"]:
    """The tasks meant by pseudonyms, keys or beginnings of keys, each once, those that aren't finished first.

    One scan has several tasks where it was queued under several models or policies: `lane` narrows them down. Finished
    ones are only looked at for names that no other task has.

    Raises:
        ScanUnknown: a name has no task.
    """
    from pellucid.records import TaskState

    open_states = [state for state in TaskState if state is not TaskState.DONE]
    found: dict[str, Task] = {}
    unknown = list(dict.fromkeys(names))
    for states in (open_states, [TaskState.DONE]):
        if not unknown:
            break
        tasks = [task for state in states for task in records.tasks(state=state, lane=lane)]
        for name in tuple(unknown):
            own = _named(records, name, tasks)
            found |= {task.key: task for task in own}
            if own:
                unknown.remove(name)
    if unknown:
        raise ScanUnknown(f"These records have no scan {', '.join(unknown)}.")
    return list(found.values())


def find_lane(lanes: Iterable[str], beginning: str) -> str:
    """The lane that begins so.

    Raises:
        LaneUnknown: none does, or several do.
    """
    matching = [lane for lane in lanes if lane.startswith(beginning)]
    if beginning in matching:
        return beginning
    if len(matching) != 1:
        raise LaneUnknown(f"{len(matching) or 'No'} lanes begin with {beginning!r}.")
    return matching[0]


def _named(records: "Records", name: str, tasks: Sequence["Task"]) -> list["Task"]:
    from pellucid.records.pseudonyms import derive

    if _KEY.fullmatch(name):
        return [task for task in tasks if task.key.startswith(name)]
    if not name.startswith("F-"):
        return []
    salt = records.site_salt()

    def may_be(task: "Task") -> bool:
        # Derived, not looked up: the table of a busy site has too many rows to ask for each.
        return any(derive(salt, "scan", task.scan_digest or task.key, counter) == name for counter in range(_COUNTERS))

    return [task for task in tasks if may_be(task) and scan_name(records, task) == name]
