"""Checking the audit trail, and the rows it seals, against what was written."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

from sqlalchemy import Connection, RowMapping, select, text

from pellucid.records import pseudonyms
from pellucid.records.chain import GENESIS, leaf_hash
from pellucid.records.errors import HeadMalformed
from pellucid.records.seals import raw_select, row_digest
from pellucid.records.tables import SEALED, audit_event, site
from pellucid.records.tables import pseudonym as pseudonym_table
from pellucid.records.types import Action, AuditHead, AuditProblem, AuditReport

LIMITS = (
    "A hash chain alone does not show that the last events were cut off, or that the owner of the database rewrote "
    "everything and computed the hashes anew. Note the head elsewhere and pass it as --expect-head later; signed "
    "checkpoints kept in another place come with a later stage."
)
_GUARDS = ("audit_event_no_delete", "audit_event_no_update", "audit_event_only_append")
TRIGGERS = {"sqlite": _GUARDS, "postgresql": (*_GUARDS, "audit_event_no_truncate")}
"""The guards of the trail in each kind of database."""

_PRESENT = {
    "sqlite": "SELECT name FROM sqlite_master WHERE type = 'trigger' AND tbl_name = 'audit_event'",
    # A trigger that is disabled, or that a session can step around, guards nothing.
    "postgresql": "SELECT tgname FROM pg_trigger WHERE tgrelid = 'audit_event'::regclass AND tgenabled = 'A'",
}

_BATCH = 2000


def parse_head(written: str) -> AuditHead:
    """The head that a person noted as `SEQ:LEAF`.

    Raises:
        HeadMalformed: it is of another form.
    """
    number, _, leaf = written.strip().partition(":")
    try:
        return AuditHead(seq=int(number), leaf=_hex32(leaf))
    except ValueError as error:
        raise HeadMalformed(f"{written!r} is no head of an audit trail.") from error


def _hex32(leaf: str) -> str:
    if len(leaf) != 64:
        raise ValueError
    return bytes.fromhex(leaf).hex()


def verify(connection: Connection, *, expect_head: AuditHead | None, skew_s: float) -> AuditReport:
    """Check everything in one state of the database.

    Args:
        connection: in a reading transaction.
        expect_head: a head noted earlier: the trail must still hold that event with that leaf.
        skew_s: by how many seconds an event's time may lie before that of the event before it.
    """
    trail = _TrailCheck(expect_head, timedelta(seconds=skew_s))
    for row in _events(connection):
        trail.take(**row)
    problems = trail.finish()
    salt = connection.execute(select(site.c.salt)).scalar()
    n_rows = 0
    if salt is None:
        problems.append(AuditProblem(seq=None, kind="site_missing", detail="The row that holds the salt is gone."))
    else:
        n_rows = _check_rows(connection, salt, trail.seals, problems)
        problems += _check_pseudonyms(connection, salt)
    problems += _check_triggers(connection)
    problems.sort(key=lambda problem: (problem.seq is None, problem.seq or 0))
    return AuditReport(n_events=trail.n_events, n_rows=n_rows, head=trail.head, problems=tuple(problems))


class _TrailCheck:
    """Walks the events in order and keeps what the row checks need: the last seal of each row."""

    def __init__(self, expected: AuditHead | None, skew: timedelta) -> None:
        self.n_events = 0
        self.head = AuditHead(seq=0, leaf=GENESIS.hex())
        self.seals: dict[tuple[str, int], tuple[str, int]] = {}
        self._problems: list[AuditProblem] = []
        self._expected = expected
        self._skew = skew
        self._latest: datetime | None = None

    def take(self, seq: int, prev: bytes, leaf: bytes, payload: bytes) -> None:
        if not all(isinstance(value, bytes) for value in (prev, leaf, payload)):
            self._found(seq, "leaf_wrong", f"Event {seq} was written over: it is not made of bytes.")
            prev, leaf, payload = _as_bytes(prev), _as_bytes(leaf), _as_bytes(payload)
        if seq != self.head.seq + 1:
            self._found(seq, "gap", f"Event {seq} follows event {self.head.seq}: events between them are gone.")
        if prev.hex() != self.head.leaf:
            self._found(seq, "chain_broken", f"Event {seq} does not continue the event before it.")
        if leaf_hash(seq, prev, payload) != leaf:
            self._found(seq, "leaf_wrong", f"Event {seq} is not what was hashed when it was written.")
        if self._expected is not None and seq == self._expected.seq and leaf.hex() != self._expected.leaf:
            self._found(seq, "head_differs", f"Event {seq} is not the head that was noted: the trail was rewritten.")
        self._read(seq, payload)
        self.n_events += 1
        self.head = AuditHead(seq=seq, leaf=leaf.hex())

    def finish(self) -> list[AuditProblem]:
        expected = self._expected
        if self.n_events == 0:
            self._found(None, "empty", "The trail has no event, not even that of its creation.")
        if expected is not None and self.head.seq < expected.seq:
            detail = f"The trail ends at event {self.head.seq}; event {expected.seq} was noted: its tail was cut off."
            self._found(None, "truncated", detail)
        return self._problems

    def _found(self, seq: int | None, kind: str, detail: str) -> None:
        self._problems.append(AuditProblem(seq=seq, kind=kind, detail=detail))

    def _read(self, seq: int, payload: bytes) -> None:
        try:
            content = json.loads(payload)
            at = datetime.fromisoformat(content["at"]).astimezone(UTC)
            action = Action(content["action"])
            seals = {(row["table"], row["id"]): (row["hmac"], seq) for row in content["rows"]}
        except (ValueError, KeyError, TypeError) as error:
            self._found(seq, "payload_unreadable", f"Event {seq} can't be read: {error!r}.")
            return
        if self._latest is not None and at < self._latest - self._skew:
            detail = f"Event {seq} ({action}) is dated {content['at']}, before the events before it."
            self._found(seq, "time_reversed", detail)
        self._latest = at if self._latest is None else max(at, self._latest)
        self.seals.update(seals)


def _as_bytes(value: object) -> bytes:
    """SQLite keeps a text where a text was put, whatever the column's type."""
    return value if isinstance(value, bytes) else str(value).encode()


def _events(connection: Connection) -> Iterator[RowMapping]:
    query = raw_select(audit_event).order_by(audit_event.c.seq).execution_options(yield_per=_BATCH)
    yield from connection.execute(query).mappings()


def _check_rows(
    connection: Connection, salt: bytes, seals: dict[tuple[str, int], tuple[str, int]], problems: list[AuditProblem]
) -> int:
    """Hold each row of the sealed tables against its last seal, and each seal against its row."""
    unseen = dict(seals)
    count = 0
    for table in SEALED:
        for row in connection.execute(raw_select(table).execution_options(yield_per=_BATCH)).mappings():
            count += 1
            name = f"row {row['id']} of {table.name}"
            seal = unseen.pop((table.name, row["id"]), None)
            if seal is None:
                problems.append(AuditProblem(seq=None, kind="row_without_event", detail=f"No event tells of {name}."))
            elif row_digest(salt, table.name, dict(row)) != seal[0]:
                detail = f"Event {seal[1]} recorded other content for {name}."
                problems.append(AuditProblem(seq=seal[1], kind="row_edited", detail=detail))
    problems += [
        AuditProblem(
            seq=seq, kind="row_deleted", detail=f"Event {seq} tells of row {row_id} of {table}, which is gone."
        )
        for (table, row_id), (_, seq) in unseen.items()
    ]
    return count


def _check_pseudonyms(connection: Connection, salt: bytes) -> Iterator[AuditProblem]:
    """A pseudonym follows from its identifier, so an exchanged one shows without an event."""
    for row in connection.execute(select(pseudonym_table)):
        if pseudonyms.derive(salt, row.kind, row.identifier, row.counter) != row.pseudonym:
            detail = f"The pseudonym {row.pseudonym} does not belong to the identifier it is filed with."
            yield AuditProblem(seq=None, kind="pseudonym_edited", detail=detail)


def _check_triggers(connection: Connection) -> Iterator[AuditProblem]:
    kind = connection.dialect.name
    present = set(connection.execute(text(_PRESENT[kind])).scalars())
    for name in TRIGGERS[kind]:
        if name not in present:
            yield AuditProblem(seq=None, kind="trigger_missing", detail=f"The guard {name} of the trail was removed.")
