"""Labelled specimens, what the model believes of each, and what the gates say: what is certified and evaluated on."""

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from pellucid.core.digests import salted_digest
from pellucid.domain.certificate import TOLERANCE
from pellucid.domain.cohort import Cohort, ScanEntry
from pellucid.domain.decision import Decision
from pellucid.domain.policy import SitePolicy
from pellucid.domain.posterior import Posterior
from pellucid.domain.reasons import Finding
from pellucid.evaluation.errors import AssessmentIncomplete, CohortUnusable
from pellucid.pipeline.decisions import Terms, gather_evidence
from pellucid.records import Records, ScanResult
from pellucid.triage import SCANNER, SpecimenEvidence, decide, gate_findings, scores_of, specimen_posterior, values_of

_SHOWN = 20


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class AssessedSpecimen:
    """A specimen, its molecular outcome, and what the model says of it.

    Attributes:
        specimen: its name in the cases table; never shown.
        pseudonym: its name on pages.
        patient: whose it is; never shown.
        label: 1 mutated, 0 wild type, None where the table doesn't say.
        evidence: what a decision rests on.
        posterior: of all its scans, None where none was scored.
        findings: what the gates found; only a specimen without any can be decided without a person.
        upper: upper end of the interval plus the tolerance (calibrated logit); inf where a gate holds it.
        lower: lower end less the tolerance; -inf where a gate holds it.
        deterministic: calibrated logit of the head without dropout, None where there is none.
        ensemble: calibrated logits of an ensemble's heads; empty without one.
        results: what was recorded of its scans.
        decision: under the policy at hand; not recorded.
    """

    specimen: str
    pseudonym: str
    patient: str
    label: int | None
    evidence: SpecimenEvidence
    posterior: Posterior | None
    findings: tuple[Finding, ...]
    upper: float
    lower: float
    deterministic: float | None
    ensemble: tuple[float, ...]
    results: tuple[ScanResult, ...]
    decision: Decision

    @property
    def strata(self) -> dict[str, str]:
        """What the cases table says: site, specimen type, ..."""
        return self.evidence.strata

    @property
    def scanners(self) -> tuple[str, ...]:
        """The scanners of its scans, sorted; "" where a file doesn't say."""
        return tuple(sorted(values_of(self.evidence, SCANNER)))

    @property
    def passed(self) -> bool:
        """Whether every gate let it through and it has a posterior."""
        return self.posterior is not None and not self.findings


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Assessment:
    """All specimens of a cohort, in its order."""

    specimens: tuple[AssessedSpecimen, ...]
    terms: Terms

    @property
    def policy(self) -> SitePolicy:
        """The policy that `decision` was made under."""
        return self.terms.policy


def check_labels(cohort: Cohort, *, need_all: bool) -> None:
    """Check what the table alone can tell, before hours are spent.

    Args:
        cohort: the specimens, one split.
        need_all: every specimen must have a label; otherwise at least one.

    Raises:
        CohortUnusable: lists every problem, by row: no row, labels missing or contradicting, one class only.
    """
    problems = list(_problems(cohort, need_all=need_all))
    if problems:
        more = f"; and {len(problems) - _SHOWN} more" if len(problems) > _SHOWN else ""
        raise CohortUnusable(f"The cohort can't be used: {'; '.join(problems[:_SHOWN])}{more}.", problems=problems)


def assess(records: Records, cohort: Cohort, *, terms: Terms) -> Assessment:
    """Read each specimen's evidence back from the records and judge it as production would.

    Args:
        records: after a run over the cohort.
        cohort: the specimens, one split.
        terms: gates and policy; its lane is that of the run.

    Raises:
        AssessmentIncomplete: the run has not ended for some specimens.
        CohortUnusable: one scan is filed under several specimens.
    """
    groups = cohort.specimens()
    evidence = {name: gather_evidence(records, name, lane=terms.lane) for name in groups}
    if waiting := [name for name, found in evidence.items() if found is None]:
        raise AssessmentIncomplete(f"{len(waiting)} of {len(groups)} specimens are not done yet.")
    found = {name: one for name, one in evidence.items() if one is not None}
    _require_distinct(found, groups)
    return Assessment(
        specimens=tuple(_assessed(records, found[name], entries, terms) for name, entries in groups.items()),
        terms=terms,
    )


def one_a_patient(specimens: Iterable[AssessedSpecimen], salt: str) -> tuple[AssessedSpecimen, ...]:
    """One specimen of each patient, the unit that is exchangeable: the one whose salted name comes first.

    The choice looks at no label and at nothing that the model says.
    """
    chosen: dict[str, AssessedSpecimen] = {}
    for one in specimens:
        before = chosen.get(one.patient)
        if before is None or salted_digest(salt, one.specimen) < salted_digest(salt, before.specimen):
            chosen[one.patient] = one
    return tuple(chosen.values())


def named_rows(entries: Sequence[ScanEntry]) -> str:
    """Rows by their lines in the table, which unlike the names in them may stand in a log."""
    lines = [str(entry.row) for entry in entries if entry.row is not None]
    if len(lines) < len(entries):
        return f"{len(entries)} unnumbered rows" if len(entries) > 1 else "an unnumbered row"
    more = f" and {len(lines) - _SHOWN} more" if len(lines) > _SHOWN else ""
    return f"{'row' if len(lines) == 1 else 'rows'} {', '.join(lines[:_SHOWN])}{more}"


def _assessed(
    records: Records, evidence: SpecimenEvidence, entries: Sequence[ScanEntry], terms: Terms
) -> AssessedSpecimen:
    posterior = specimen_posterior(evidence.scans, terms.gates)
    findings = gate_findings(evidence, terms.gates)
    results = tuple(records.scan_results(evidence.specimen))
    scored = [one for one in results if one.posterior is not None]
    upper, lower = math.inf, -math.inf
    if posterior is not None and not findings:
        scores = scores_of(posterior, TOLERANCE)
        upper, lower = scores.upper, scores.lower
    return AssessedSpecimen(
        specimen=evidence.specimen,
        pseudonym=records.pseudonym("specimen", evidence.specimen),
        patient=entries[0].patient,
        label=next((entry.label for entry in entries if entry.label is not None), None),
        evidence=evidence,
        posterior=posterior,
        findings=findings,
        upper=upper,
        lower=lower,
        deterministic=_deterministic(scored, terms.gates.temperature),
        ensemble=_ensemble(scored, terms.gates.temperature),
        results=results,
        decision=decide(evidence, gates=terms.gates, policy=terms.policy, versions=terms.versions),
    )


def _deterministic(scored: Sequence[ScanResult], temperature: float) -> float | None:
    logits = [one.observation.deterministic_logit for one in scored]
    known = [logit for logit in logits if logit is not None]
    return math.fsum(known) / len(known) / temperature if known and len(known) == len(logits) else None


def _ensemble(scored: Sequence[ScanResult], temperature: float) -> tuple[float, ...]:
    """Each head's mean over the scans: a head is one network for all scans, as a pass is."""
    scans = [one.observation.ensemble_logits for one in scored]
    if not scans or len({len(one) for one in scans}) != 1:
        return ()
    return tuple(math.fsum(column) / len(scans) / temperature for column in zip(*scans, strict=True))


def _problems(cohort: Cohort, *, need_all: bool) -> Iterator[str]:
    if not cohort.entries:
        yield "it has no row"
        return
    labels = set()
    for entries in cohort.specimens().values():
        said = {entry.label for entry in entries} - {None}
        labels |= said
        if len(said) > 1:
            yield f"the specimen of {named_rows(entries)} has different labels"
        elif need_all and not said:
            yield f"the specimen of {named_rows(entries)} has no label"
        if len({entry.patient for entry in entries}) > 1:
            yield f"the specimen of {named_rows(entries)} is of different patients"
    if not labels:
        yield "no specimen has a label"
    elif len(labels) == 1 and need_all:
        yield f"every label is {labels.pop()}"


def _require_distinct(found: dict[str, SpecimenEvidence], groups: dict[str, tuple[ScanEntry, ...]]) -> None:
    owners: dict[str, set[str]] = defaultdict(set)
    for name, evidence in found.items():
        for scan in evidence.scans:
            owners[scan.scan].add(name)
    doubles = [
        " and ".join(sorted(named_rows(groups[name]) for name in names)) for names in owners.values() if len(names) > 1
    ]
    if doubles:
        raise CohortUnusable(
            f"The same scan is filed under more than one of {len(groups)} specimens: {'; '.join(doubles[:_SHOWN])}.",
            problems=doubles,
        )
