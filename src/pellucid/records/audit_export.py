"""Copying the audit trail out, so that it can be kept and checked elsewhere."""

import json
from pathlib import Path

from pellucid.core.files import atomic_path, write_json
from pellucid.records.records import Records
from pellucid.records.types import Action, AuditEvent, AuditHead

EVENTS_NAME = "audit.jsonl"
HEAD_NAME = "audit-head.json"

_BATCH = 2000


def export_trail(records: Records, folder: Path) -> AuditHead:
    """Write the trail up to and with the event of this export.

    `audit.jsonl` has one event a line: `seq`, `prev`, `leaf` (hexadecimal) and `payload`, a string whose UTF-8 bytes
    are the bytes that were hashed. leaf = SHA-256(0x00 || seq as 8 bytes, big-endian || prev || payload).
    `audit-head.json` has the number and the leaf of the last one.

    Raises:
        StorageFull: the disk is full; nothing is left behind.
    """
    last = records.audit_append(Action.EXPORT, object_type="audit", object_id="trail")
    after = 0
    with atomic_path(folder / EVENTS_NAME) as part, part.open("w", encoding="utf-8") as file:
        while after < last.seq:
            events = records.audit_events(after=after, limit=min(_BATCH, last.seq - after))
            file.writelines(_line(event) for event in events)
            after = events[-1].seq
    head = AuditHead(seq=last.seq, leaf=last.leaf)
    write_json(folder / HEAD_NAME, {"seq": head.seq, "leaf": head.leaf})
    return head


def _line(event: AuditEvent) -> str:
    fields = {"seq": event.seq, "prev": event.prev, "leaf": event.leaf, "payload": event.payload.decode()}
    return json.dumps(fields, ensure_ascii=False) + "\n"
