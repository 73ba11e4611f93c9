"""What a bundle keeps of its making: digests of its patients, and how its tuning specimens came out."""

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pellucid.bundle import Calibration
from pellucid.bundle.gates import make_gates
from pellucid.core.digests import salted_digest
from pellucid.domain.cohort import Cohort, Split
from pellucid.domain.reference import ReferenceProfile
from pellucid.domain.tumour import TumourHead
from pellucid.domain.tuning import PatientDigests, TuningSpecimen
from pellucid.statistics.posterior import logit_interval
from pellucid.statistics.reference import distance
from pellucid.training.calibrate import Answer, TunedSpecimen
from pellucid.training.tumour import tumour_share
from pellucid.triage.evidence import Gates, ScanEvidence, SpecimenEvidence
from pellucid.triage.gates import CONFIRMED, DIAGNOSIS, gate_findings

_SALT_BYTES = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Gating:
    """All that the gates need to know of a model and of its tuning cohort; `expected` counts a specimen's scans."""

    calibration: Calibration
    reference: ReferenceProfile
    tumour: TumourHead | None
    synthetic: bool
    expected: Mapping[str, int]

    def gates(self) -> Gates:
        """As a site makes them of the bundle."""
        return make_gates(self.calibration, self.reference, self.tumour, synthetic=self.synthetic)


def digest_patients(cohort: Cohort) -> PatientDigests:
    """Digests, under a new random salt, of every patient of the training and tuning splits.

    Those whose scans were left out are among them: a split is what a patient was set aside for.
    """
    salt = secrets.token_hex(_SALT_BYTES)

    def digests(split: Split) -> tuple[str, ...]:
        return tuple(sorted({salted_digest(salt, entry.patient) for entry in cohort.in_split(split)}))

    return PatientDigests(salt=salt, training=digests(Split.TRAINING), tuning=digests(Split.TUNING))


def tuning_specimens(
    answers: Sequence[Answer], tuned: Sequence[TunedSpecimen], gating: Gating
) -> tuple[TuningSpecimen, ...]:
    """How each tuning specimen came out, in the order of their mean logits, which tells nothing of the table's.

    A molecular label comes from tumour, so the diagnosis of each counts as confirmed. A specimen with a scan that was
    left out is incomplete and doesn't pass, as it wouldn't at a site.

    Args:
        answers: of every tuning scan.
        tuned: every tuning specimen.
        gating: what the gates need.
    """
    groups: dict[str, list[Answer]] = {}
    for answer in answers:
        groups.setdefault(answer.item.scan.entry.specimen, []).append(answer)
    found = [_tuning_specimen(one, groups[one.specimen], gating) for one in tuned]
    return tuple(sorted(found, key=lambda one: (one.mean_logit, one.sd_logit)))


def _tuning_specimen(one: TunedSpecimen, answers: Sequence[Answer], gating: Gating) -> TuningSpecimen:
    evidence = SpecimenEvidence(
        specimen=one.specimen,
        scans=tuple(_evidence(answer, gating) for answer in answers),
        expected=gating.expected[one.specimen],
        strata={DIAGNOSIS: CONFIRMED},
    )
    low, high = logit_interval(one.posterior)
    return TuningSpecimen(
        mean_logit=one.posterior.mean_logit,
        sd_logit=one.posterior.sd_logit,
        low_logit=low,
        high_logit=high,
        label=one.label,
        passed=not gate_findings(evidence, gating.gates()),
    )


def _evidence(answer: Answer, gating: Gating) -> ScanEvidence:
    scan = answer.item.scan
    share = None if gating.tumour is None else tumour_share(gating.tumour, answer.item.bag.features)
    return ScanEvidence(
        scan=scan.digest,
        logits=tuple(answer.logits.tolist()),
        # a scan that the quality gates find fault with has no bag
        quality=None,
        distance=distance(gating.reference, answer.embedding)[0],
        synthetic=gating.synthetic,
        failure=None,
        tumour_share=share,
    )
