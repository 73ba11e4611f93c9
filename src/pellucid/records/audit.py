"""Appending to the audit trail, always within the transaction of what the event tells."""

import json
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, LargeBinary, RowMapping, Table, func, or_, select

from pellucid.core.clock import utc_now
from pellucid.records import pseudonyms
from pellucid.records.chain import GENESIS, leaf_hash
from pellucid.records.errors import RecordsDamaged, RunUnknown
from pellucid.records.seals import raw_select, seal_row
from pellucid.records.tables import audit_event, run
from pellucid.records.types import Action, AuditEvent, AuditHead
from pellucid.records.values import to_bytes

SCHEMA_VERSION = 1


@dataclass(frozen=True, slots=True)
class Subject:
    """What an event is about: a pseudonym or a digest, never a name or a path."""

    type: str
    id: str


@dataclass(frozen=True, slots=True)
class AuditTrail:
    """Appends events for one site.

    `salt` keys the seals of rows, `site_uuid` names the site in each event, `actor` is who acts where nobody else is
    named.
    """

    salt: bytes
    site_uuid: str
    actor: str

    def append(
        self,
        connection: Connection,
        action: Action,
        subject: Subject,
        *,
        rows: Sequence[tuple[Table, int]] = (),
        details: Mapping[str, Any] | None = None,
        run_id: str | None = None,
        actor: str | None = None,
    ) -> AuditEvent:
        """Append one event within the caller's transaction.

        Args:
            connection: in a transaction of `Database.write`: under its lock no two events continue the same one.
            action: what happened.
            subject: to what.
            rows: the rows that the transaction wrote; the event holds their seals.
            details: plain JSON without patient data, paths or file names.
            run_id: the run it happened in; its versions are part of the event.
            actor: who acted; the software itself where omitted.

        Raises:
            ValueUnrecordable: `details` isn't plain JSON with finite numbers.
            RunUnknown: no such run.
        """
        head = read_head(connection)
        seq = head.seq + 1
        prev = bytes.fromhex(head.leaf)
        content = {
            "schema": SCHEMA_VERSION,
            "event": str(uuid.uuid4()),
            "site": self.site_uuid,
            "at": utc_now(),
            "actor": actor or self.actor,
            "action": action.value,
            "object": {"type": subject.type, "id": subject.id},
            "rows": [seal_row(connection, self.salt, table, row_id).to_plain() for table, row_id in rows],
            "details": dict(details or {}),
            "run": run_id,
            "versions": _versions(connection, run_id),
        }
        payload = to_bytes(content, what=f"audit event {action.value}")
        leaf = leaf_hash(seq, prev, payload)
        connection.execute(audit_event.insert().values(seq=seq, prev=prev, leaf=leaf, payload=payload))
        return AuditEvent(seq=seq, prev=prev.hex(), leaf=leaf.hex(), payload=payload, content=content)

    def specimen(self, connection: Connection, name: str) -> Subject:
        """A specimen as an event may name it."""
        return Subject("specimen", pseudonyms.find_or_assign(connection, self.salt, "specimen", name))


def read_head(connection: Connection) -> AuditHead:
    """The last event's number and leaf; 0 and zeros for an empty trail."""
    row = connection.execute(raw_select(audit_event).order_by(audit_event.c.seq.desc()).limit(1)).mappings().first()
    if row is None:
        return AuditHead(seq=0, leaf=GENESIS.hex())
    return AuditHead(seq=row["seq"], leaf=_bytes_of(row, "leaf").hex())


def read_events(connection: Connection, *, after: int, limit: int | None) -> list[AuditEvent]:
    """Events with a number above `after`, in order, at most `limit`.

    Raises:
        RecordsDamaged: an event isn't as the software writes it.
    """
    query = raw_select(audit_event).where(audit_event.c.seq > after).order_by(audit_event.c.seq).limit(limit)
    return [_event(row) for row in connection.execute(query).mappings()]


def read_events_of(connection: Connection, *actions: Action) -> Iterator[AuditEvent]:
    """Every event of these actions, in order; the database passes over the others without handing them out.

    Raises:
        RecordsDamaged: an event isn't as the software writes it.
    """
    payload = audit_event.c.payload
    # An event's bytes begin with its action: canonical JSON sorts the names, and no other one sorts before it.
    beginnings = [f'{{"action":"{action.value}",'.encode() for action in actions]
    matches = [func.substr(payload, 1, len(first), type_=LargeBinary) == first for first in beginnings]
    query = raw_select(audit_event).where(or_(*matches)).order_by(audit_event.c.seq)
    yield from (_event(row) for row in connection.execute(query).mappings())


def _event(row: RowMapping) -> AuditEvent:
    payload = _bytes_of(row, "payload")
    try:
        content = json.loads(payload)
    except ValueError as error:
        raise _damaged(row) from error
    return AuditEvent(
        seq=row["seq"],
        prev=_bytes_of(row, "prev").hex(),
        leaf=_bytes_of(row, "leaf").hex(),
        payload=payload,
        content=content,
    )


def _bytes_of(row: RowMapping, column: str) -> bytes:
    value = row[column]
    if not isinstance(value, bytes):
        raise _damaged(row)
    return value


def _damaged(row: RowMapping) -> RecordsDamaged:
    return RecordsDamaged(f"Audit event {row['seq']} was written over.")


def _versions(connection: Connection, run_id: str | None) -> dict[str, str] | None:
    if run_id is None:
        return None
    columns = (run.c.model, run.c.policy, run.c.software, run.c.software_version)
    row = connection.execute(select(*columns).where(run.c.run_id == run_id)).mappings().first()
    if row is None:
        raise RunUnknown(f"Run {run_id} was never started in these records.")
    return dict(row)
