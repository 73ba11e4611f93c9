"""The account of delta: what certifications have spent on whose specimens, kept in the audit trail.

Every attempt has a chance of at most its delta, over the draw of the specimens, to claim what is false. By the union
bound several attempts together have at most the sum, however they depend on each other. The account therefore keeps,
for every patient, the sum over all attempts on specimens of that patient within the smallest budget that any of them
stated. Attempts that share no patient with the new one are not counted, not even where a third one shares patients
with both: they say nothing of the specimens at hand.

The bound is for attempts that were fixed before the labels which they share were opened. It doesn't cover a model or a
gate that was changed in the light of those labels: that takes new patients.
"""

import math
from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Any

from sqlalchemy import Connection

from pellucid.core.digests import salted_digest
from pellucid.records import audit
from pellucid.records.audit import AuditTrail, Subject
from pellucid.records.errors import CertificationConflict, CertificationUnknown, DeltaSpent, ValueUnrecordable
from pellucid.records.types import Action, AuditEvent, CertificationEntry

_OBJECT = "certification"
_TOLERANCE = 1e-12  # .05 + .05 must fit into .1
_SHOWN = 3


def read(connection: Connection) -> list[CertificationEntry]:
    """All certifications in the order they were begun, each with what came of it last."""
    entries: dict[str, CertificationEntry] = {}
    for event in audit.read_events_of(connection, Action.CERTIFY, Action.CERTIFIED):
        content = event.content
        fingerprint = content["object"]["id"]
        if content["action"] == Action.CERTIFY:
            entries[fingerprint] = _entry(event)
        elif fingerprint in entries:
            entries[fingerprint] = replace(
                entries[fingerprint],
                policy=content["details"]["policy"],
                summary=content["details"]["summary"],
                concluded_at=content["at"],
            )
    return list(entries.values())


def spend(
    connection: Connection,
    trail: AuditTrail,
    *,
    fingerprint: str,
    patients: Collection[str],
    delta: float,
    budget: float,
    details: Mapping[str, Any],
    actor: str | None,
) -> CertificationEntry:
    """Enter an attempt, unless it was entered before, within a transaction of `Database.write`.

    Raises:
        DeltaSpent: the patients' delta doesn't suffice.
        CertificationConflict: the fingerprint is that of an attempt with other patients or another delta.
        ValueUnrecordable: no patients, or numbers that are no chances.
    """
    _check(fingerprint, patients, delta, budget)
    digests = tuple(sorted({salted_digest(trail.salt.hex(), patient) for patient in patients}))
    earlier = read(connection)
    for entry in earlier:
        if entry.fingerprint == fingerprint:
            return _same(entry, digests, delta)
    _require_left(earlier, set(digests), delta, budget)
    content = {"delta": delta, "budget": budget, "patients": list(digests), "about": dict(details)}
    event = trail.append(connection, Action.CERTIFY, Subject(_OBJECT, fingerprint), details=content, actor=actor)
    return _entry(event)


def conclude(
    connection: Connection,
    trail: AuditTrail,
    *,
    fingerprint: str,
    policy: str | None,
    summary: Mapping[str, Any],
    actor: str | None,
) -> CertificationEntry:
    """Record what came of an attempt; the same result once more adds nothing.

    Raises:
        CertificationUnknown: it was never entered.
        ValueUnrecordable: `summary` isn't plain JSON.
    """
    entry = next((entry for entry in read(connection) if entry.fingerprint == fingerprint), None)
    if entry is None:
        raise CertificationUnknown(f"The account holds no certification {fingerprint}.")
    if entry.concluded_at is not None and (entry.policy, entry.summary) == (policy, dict(summary)):
        return entry
    content = {"policy": policy, "summary": dict(summary)}
    event = trail.append(connection, Action.CERTIFIED, Subject(_OBJECT, fingerprint), details=content, actor=actor)
    return replace(entry, policy=policy, summary=dict(summary), concluded_at=event.content["at"])


def _check(fingerprint: str, patients: Collection[str], delta: float, budget: float) -> None:
    if not fingerprint:
        raise ValueUnrecordable("A certification without a fingerprint can't be recorded.")
    if isinstance(patients, str) or not patients or not all(patients):
        raise ValueUnrecordable("A certification can't be recorded without the names of its patients.")
    for name, value in (("delta", delta), ("budget", budget)):
        if not (math.isfinite(value) and 0 < value < 1):
            raise ValueUnrecordable(f"The {name} of a certification must lie between 0 and 1; {value!r} doesn't.")


def _same(entry: CertificationEntry, patients: tuple[str, ...], delta: float) -> CertificationEntry:
    if entry.patients != patients or entry.delta != delta:
        raise CertificationConflict(
            f"The certification of {entry.at} has the same fingerprint, but delta {entry.delta:g} and "
            f"{len(entry.patients)} patients; asked are delta {delta:g} and {len(patients)} patients."
        )
    return entry


def _require_left(earlier: list[CertificationEntry], patients: set[str], delta: float, budget: float) -> None:
    sharing = [entry for entry in earlier if not patients.isdisjoint(entry.patients)]
    allowed = min([budget, *(entry.budget for entry in sharing)])
    spent = math.fsum(entry.delta for entry in sharing)
    if math.fsum([spent, delta]) <= allowed + _TOLERANCE:
        return
    left = max(0.0, allowed - spent)
    raise DeltaSpent(
        f"A delta of {delta:g} is asked; {_shown(left)} of {allowed:g} is left. {_history(sharing, patients)}",
        spent=spent,
        left=left,
        budget=allowed,
        asked=delta,
        attempts=len(sharing),
    )


def _history(sharing: list[CertificationEntry], patients: set[str]) -> str:
    if not sharing:
        return "Nothing was spent on these patients before: the budget itself is smaller."
    told = [
        f"{entry.delta:g} on {entry.at[:10]} ({len(patients.intersection(entry.patients))} of its "
        f"{len(entry.patients)} patients are among these)"
        for entry in sharing[-_SHOWN:]
    ]
    more = f", and {len(sharing) - _SHOWN} earlier" if len(sharing) > _SHOWN else ""
    return f"Spent: {', '.join(reversed(told))}{more}."


def _shown(left: float) -> str:
    return "nothing" if left <= _TOLERANCE else f"{left:.4g}"


def _entry(event: AuditEvent) -> CertificationEntry:
    content = event.content
    details = content["details"]
    return CertificationEntry(
        seq=event.seq,
        at=content["at"],
        actor=content["actor"],
        fingerprint=content["object"]["id"],
        delta=float(details["delta"]),
        budget=float(details["budget"]),
        patients=tuple(details["patients"]),
        details=details["about"],
    )
