"""Specimens and the scans filed under them; one scan under two cases is an identity conflict."""

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, RowMapping, func, select, text, update

from pellucid.core.clock import utc_now
from pellucid.records.audit import AuditTrail, Subject
from pellucid.records.clock import database_now, read_clock
from pellucid.records.database import read_by_keys
from pellucid.records.errors import SpecimenConflict, SpecimenUnknown
from pellucid.records.tables import scan as scans
from pellucid.records.tables import specimen as specimens
from pellucid.records.types import Action, IdentityConflict, ScanRow, Specimen
from pellucid.records.values import from_text, to_text


def register(
    connection: Connection,
    trail: AuditTrail,
    *,
    specimen: str,
    case: str,
    patient: str,
    expected: Sequence[str],
    strata: Mapping[str, str],
    n_expected: int | None,
    wait_s: float | None,
) -> None:
    """Record a specimen, or what is expected of it from now on.

    Raises:
        SpecimenConflict: it is known under another case or patient.
    """
    known = connection.execute(select(specimens).where(specimens.c.specimen == specimen)).mappings().first()
    if known is not None and (known["case_name"], known["patient"]) != (case, patient):
        raise SpecimenConflict(f"Specimen {specimen} is already registered under another case or patient.")
    content: dict[str, Any] = {
        "strata": to_text(dict(strata), what="strata"),
        "expected": to_text(sorted(set(expected)), what="expected scans"),
        **_waiting(connection, known, n_named=len(set(expected)), n_expected=n_expected, wait_s=wait_s),
    }
    if known is not None and all(known[name] == value for name, value in content.items()):
        return
    if known is None:
        row = {"specimen": specimen, "case_name": case, "patient": patient, "registered_at": utc_now(), **content}
        row_id = connection.execute(specimens.insert().values(row).returning(specimens.c.id)).scalar_one()
    else:
        row_id = known["id"]
        connection.execute(update(specimens).where(specimens.c.id == row_id).values(content))
    subject = trail.specimen(connection, specimen)
    details = {"expected": len(set(expected)), "strata": sorted(strata)}
    if n_expected is not None:
        details["in_all"] = n_expected
    trail.append(connection, Action.SPECIMEN_REGISTER, subject, rows=[(specimens, row_id)], details=details)


def _waiting(
    connection: Connection, known: RowMapping | None, *, n_named: int, n_expected: int | None, wait_s: float | None
) -> dict[str, Any]:
    """The columns that say how many scans will come and until when they are waited for."""
    wait_from = None if known is None else known["wait_from"]
    if wait_from is None and not (known is not None and n_expected is None and wait_s is None):
        wait_from = read_clock(connection)
    missing = 0 if n_expected is None else n_expected - n_named
    return {
        "n_expected": n_expected,
        "n_missing": missing if missing > 0 else None,
        "wait_from": wait_from,
        "deadline": None if wait_s is None or wait_from is None else wait_from + wait_s,
    }


def read(connection: Connection, specimen: str | None = None, *, waiting_only: bool = False) -> list[Specimen]:
    """All specimens in the order of their registration, the one named, or those of which scans are still missing."""
    query = select(specimens, database_now().label("now")).order_by(specimens.c.id)
    if specimen is not None:
        query = query.where(specimens.c.specimen == specimen)
    if waiting_only:
        query = query.where(text("n_missing > 0"))  # as the partial index has it
    return [_specimen(row) for row in connection.execute(query).mappings()]


def require(connection: Connection, names: Sequence[str]) -> None:
    """Check that specimens were registered.

    Raises:
        SpecimenUnknown: one was not.
    """
    query = select(specimens.c.specimen)
    known = {row["specimen"] for row in read_by_keys(connection, query, specimens.c.specimen, set(names))}
    for name in sorted(set(names) - known):
        raise SpecimenUnknown(f"Specimen {name} was never registered in these records.")


def register_scan(connection: Connection, trail: AuditTrail, scan: ScanRow) -> IdentityConflict | None:
    """Record a scan under its specimen; tells where the same digest is filed under another case.

    Raises:
        SpecimenUnknown: the specimen was never registered.
    """
    require(connection, [scan.specimen])
    content: dict[str, str | int | None] = {
        "block": scan.block,
        "slide": scan.slide,
        "path": scan.path,
        "size_bytes": scan.size_bytes,
        "n_files": scan.n_files,
        "withdrawn_at": None,
    }
    here = (scans.c.digest == scan.digest) & (scans.c.specimen == scan.specimen)
    known = connection.execute(select(scans).where(here)).mappings().first()
    if known is None or any(known[name] != value for name, value in content.items()):
        row_id = _write_scan(connection, scan, content, None if known is None else known["id"])
        trail.append(connection, Action.SCAN_REGISTER, Subject("scan", scan.digest), rows=[(scans, row_id)])
    conflict = next(iter(conflicts(connection, digest=scan.digest)), None)
    if conflict is not None and (known is None or known["withdrawn_at"] is not None):
        held = [trail.specimen(connection, name).id for name in conflict.specimens]
        trail.append(connection, Action.SCAN_CONFLICT, Subject("scan", scan.digest), details={"held": held})
    return conflict


def _write_scan(connection: Connection, scan: ScanRow, content: dict[str, str | int | None], row_id: int | None) -> int:
    if row_id is None:
        row = {"digest": scan.digest, "specimen": scan.specimen, "registered_at": utc_now(), **content}
        return int(connection.execute(scans.insert().values(row).returning(scans.c.id)).scalar_one())
    connection.execute(update(scans).where(scans.c.id == row_id).values(content))
    return row_id


def withdraw_scan(connection: Connection, trail: AuditTrail, *, digest: str, specimen: str, actor: str) -> bool:
    """Take a wrongly filed scan off a specimen; the row stays, marked. False where it wasn't filed there."""
    here = (scans.c.digest == digest) & (scans.c.specimen == specimen) & scans.c.withdrawn_at.is_(None)
    statement = update(scans).where(here).values(withdrawn_at=utc_now()).returning(scans.c.id)
    row_id = connection.execute(statement).scalar()
    if row_id is None:
        return False
    details = {"specimen": trail.specimen(connection, specimen).id}
    subject = Subject("scan", digest)
    trail.append(connection, Action.SCAN_WITHDRAW, subject, rows=[(scans, row_id)], details=details, actor=actor)
    return True


def conflicts(connection: Connection, *, digest: str | None = None) -> list[IdentityConflict]:
    """Digests that are filed under more than one case, ordered by digest."""
    filed = select(scans.c.digest).join(specimens, specimens.c.specimen == scans.c.specimen)
    filed = filed.where(scans.c.withdrawn_at.is_(None)).group_by(scans.c.digest)
    filed = filed.having(func.count(specimens.c.case_name.distinct()) > 1)
    if digest is not None:
        filed = filed.where(scans.c.digest == digest)
    places = (
        select(scans.c.digest, scans.c.specimen, specimens.c.case_name)
        .join(specimens, specimens.c.specimen == scans.c.specimen)
        .where(scans.c.digest.in_(filed), scans.c.withdrawn_at.is_(None))
        .order_by(scans.c.digest, scans.c.specimen)
    )
    found: dict[str, list[tuple[str, str]]] = {}
    for row in connection.execute(places):
        found.setdefault(row.digest, []).append((row.specimen, row.case_name))
    return [
        IdentityConflict(
            digest=name,
            specimens=tuple(specimen for specimen, _ in filings),
            cases=tuple(sorted({case for _, case in filings})),
        )
        for name, filings in found.items()
    ]


def read_scans(connection: Connection, specimen: str | None = None) -> list[ScanRow]:
    """Scans as filed, withdrawn ones left out."""
    query = select(scans).where(scans.c.withdrawn_at.is_(None)).order_by(scans.c.id)
    if specimen is not None:
        query = query.where(scans.c.specimen == specimen)
    return [_scan(row) for row in connection.execute(query).mappings()]


def _specimen(row: RowMapping) -> Specimen:
    return Specimen(
        specimen=row["specimen"],
        case=row["case_name"],
        patient=row["patient"],
        strata=from_text(row["strata"]),
        expected=tuple(from_text(row["expected"])),
        n_expected=row["n_expected"],
        deadline=row["deadline"],
        overdue=row["n_missing"] is not None and row["deadline"] is not None and row["now"] > row["deadline"],
    )


def _scan(row: RowMapping) -> ScanRow:
    return ScanRow(
        digest=row["digest"],
        specimen=row["specimen"],
        block=row["block"],
        slide=row["slide"],
        path=row["path"],
        size_bytes=row["size_bytes"],
        n_files=row["n_files"],
    )
