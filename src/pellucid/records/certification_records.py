"""The part of `Records` that is the account of delta."""

from collections.abc import Collection, Mapping
from typing import Any

from pellucid.records import certifications
from pellucid.records.audit import AuditTrail
from pellucid.records.database import Database
from pellucid.records.types import CertificationEntry


class CertificationRecords:
    """What certifications have spent on whose specimens; see `records.certifications` for why so."""

    _database: Database
    _trail: AuditTrail

    def certifications(self) -> list[CertificationEntry]:
        """The account of delta: every certification in the order they were begun, read from the audit trail."""
        with self._database.read() as connection:
            return certifications.read(connection)

    def spend_delta(
        self,
        *,
        fingerprint: str,
        patients: Collection[str],
        delta: float,
        budget: float,
        details: Mapping[str, Any],
        actor: str | None = None,
    ) -> CertificationEntry:
        """Enter a certification in the account; to be called before any of its labels is looked at.

        A repeated fingerprint spends nothing and gives the earlier entry, so that what was interrupted can go on.

        Args:
            fingerprint: a digest over everything that decides the result.
            patients: their names; only digests of them under the site's salt are kept.
            delta: the chance of a false claim that all claims of this certification have together.
            budget: how much may be spent in all on any of these patients; the smallest that was ever stated counts.
            details: plain JSON without patient data, paths or file names.
            actor: who certifies; the software itself where omitted.

        Raises:
            DeltaSpent: earlier certifications on some of these patients left less; nothing is written.
            CertificationConflict: the fingerprint is that of an attempt with other patients or another delta.
            ValueUnrecordable: no patients, a number that is no chance, or `details` that aren't plain JSON.
        """
        with self._database.write() as connection:
            return certifications.spend(
                connection,
                self._trail,
                fingerprint=fingerprint,
                patients=patients,
                delta=delta,
                budget=budget,
                details=details,
                actor=actor,
            )

    def conclude_certification(
        self, fingerprint: str, policy_digest: str | None, summary: Mapping[str, Any], *, actor: str | None = None
    ) -> CertificationEntry:
        """Record what came of a certification: its policy, or None where there is none, and a summary in plain JSON.

        Raises:
            CertificationUnknown: its delta was never spent in these records.
            ValueUnrecordable: `summary` isn't plain JSON with finite numbers.
        """
        with self._database.write() as connection:
            return certifications.conclude(
                connection, self._trail, fingerprint=fingerprint, policy=policy_digest, summary=summary, actor=actor
            )
