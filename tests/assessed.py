"""Assessed specimens made from logits: judged by the real gates and the real decision rule, without a run."""

import math
from dataclasses import replace

import numpy as np

from pellucid.core.digests import digest_bytes
from pellucid.core.seeds import generator
from pellucid.domain.certificate import Certificate, Claim, ClaimKind, Side
from pellucid.domain.decision import Versions
from pellucid.domain.policy import Mode, SitePolicy
from pellucid.evaluation.specimens import TOLERANCE, AssessedSpecimen, Assessment
from pellucid.pipeline.decisions import Terms
from pellucid.triage import (
    Failure,
    Gates,
    ScanEvidence,
    SpecimenEvidence,
    decide,
    gate_findings,
    scores_of,
    specimen_posterior,
)

GATES = Gates(temperature=1.0, level=0.9, sd_limit=1.0, distance_limit=5.0, synthetic_model=True, tumour_limit=0.1)
VERSIONS = Versions(model="3f" * 32, policy="", software="07" * 32, software_version="0.3.0")
STRATA = {"site": "north", "specimen_type": "resection"}
NEGATIVE_CLAIM = Claim(
    side=Side.NEGATIVE,
    kind=ClaimKind.PREDICTIVE_VALUE,
    target=0.9,
    delta=0.05,
    bound=0.912,
    n=143,
    errors=6,
)
POSITIVE_CLAIM = replace(NEGATIVE_CLAIM, side=Side.POSITIVE, bound=0.905, n=61, errors=2)
MISSED_CLAIM = replace(NEGATIVE_CLAIM, kind=ClaimKind.MISSED_POSITIVES, target=0.1, bound=0.09, n=80, errors=3)
CERTIFICATE = Certificate(
    seen={"site": ("north", "south"), "specimen_type": ("biopsy", "resection"), "scanner": ("AT2", "GT450")},
    claims=(NEGATIVE_CLAIM, POSITIVE_CLAIM),
    negative=-1.0,
    positive=1.0,
    n_specimens=240,
    n_passed=210,
    n_positive=84,
    prevalence_low=0.28,
    prevalence_high=0.42,
    delta=0.1,
)
POLICY = SitePolicy(
    name="north-2026",
    mode=Mode.SILENT,
    certificates=(CERTIFICATE,),
    model=VERSIONS.model,
    gates=GATES.digest,
    synthetic=True,
    autonomous_positive=True,
    certified_on="2026-11-01",
    expires_on="2027-11-01",
)


def specimen(
    name: str,
    logit: float | None,
    label: int | None,
    *,
    sd: float = 0.05,
    patient: str | None = None,
    scanner: str = "AT2",
    strata: dict[str, str] = STRATA,
    policy: SitePolicy = POLICY,
    deterministic: float | None = None,
    ensemble: tuple[float, ...] = (),
) -> AssessedSpecimen:
    """A specimen of one scan whose 50 passes spread evenly around `logit` (calibrated); None: the scan failed."""
    passes = None if logit is None else tuple((logit + sd * _EVEN_PASSES).tolist())
    failed = None if passes is not None else Failure(code="PEL-SLIDE-004", message="The scan states no size.")
    scan = ScanEvidence(
        scan=digest_bytes(name.encode()),
        logits=passes,
        quality=None,
        distance=None if failed else 2.0,
        synthetic=None if failed else True,
        failure=failed,
        tumour_share=None if failed else 0.6,
        scanner=None if failed else scanner,
    )
    evidence = SpecimenEvidence(specimen=name, scans=(scan,), expected=1, strata=strata, on="2026-11-23")
    posterior, findings = specimen_posterior(evidence.scans, GATES), gate_findings(evidence, GATES)
    scores = None if posterior is None or findings else scores_of(posterior, TOLERANCE)
    return AssessedSpecimen(
        specimen=name,
        pseudonym=f"S-{digest_bytes(name.encode())[:8]}",
        patient=patient or f"patient of {name}",
        label=label,
        evidence=evidence,
        posterior=posterior,
        findings=findings,
        upper=math.inf if scores is None else scores.upper,
        lower=-math.inf if scores is None else scores.lower,
        deterministic=deterministic,
        ensemble=ensemble,
        results=(),
        decision=decide(evidence, gates=GATES, policy=policy, versions=replace(VERSIONS, policy=policy.digest)),
    )


def assessment(*specimens: AssessedSpecimen, policy: SitePolicy = POLICY) -> Assessment:
    """The specimens as assessed under `policy`, which they must have been made with."""
    versions = replace(VERSIONS, policy=policy.digest)
    return Assessment(
        specimens=specimens, terms=Terms(gates=GATES, policy=policy, versions=versions, lane="evaluation")
    )


def known_table() -> list[AssessedSpecimen]:
    """Nineteen specimens whose table of answers is counted by hand in the tests."""
    return [
        *(specimen(f"true negative {nth}", -2.0, 0) for nth in range(6)),
        specimen("missed", -2.5, 1),
        *(specimen(f"true positive {nth}", 2.0, 1) for nth in range(3)),
        specimen("false positive", 3.0, 0),
        *(specimen(f"between, mutated {nth}", 0.2, 1) for nth in range(2)),
        *(specimen(f"between, wild type {nth}", -0.2, 0) for nth in range(3)),
        specimen("spread", -2.0, 0, sd=2.0),
        specimen("no outcome", -2.0, None),
        specimen("failed", None, 1),
    ]


def population(
    n: int = 200, *, seed: int = 0, several: bool = False, policy: SitePolicy = POLICY, prevalence: float = 0.35
) -> list[AssessedSpecimen]:
    """A calibrated binormal population over two sites, types and scanners, some of it failed, spread or unlabelled."""
    rng = generator("assessed", seed)
    made = []
    for nth in range(n):
        label = int(rng.random() < prevalence)
        logit = float(rng.normal((3.0 if label else -3.0) / 2, math.sqrt(3.0))) + math.log(
            prevalence / (1 - prevalence)
        )
        noise = rng.normal(0, 0.4, 4)
        made.append(
            specimen(
                f"{seed}-{nth}",
                None if rng.random() < 0.02 else logit,
                None if rng.random() < 0.03 else label,
                sd=float(rng.gamma(4.0, 0.1)),
                patient=f"patient {seed}-{nth // 2 if several else nth}",
                scanner=str(rng.choice(["AT2", "GT450", "Pannoramic"], p=[0.6, 0.35, 0.05])),
                strata={
                    "site": str(rng.choice(["north", "south", "west"], p=[0.6, 0.37, 0.03])),
                    "specimen_type": str(rng.choice(["biopsy", "resection"])),
                },
                policy=policy,
                deterministic=logit + float(noise[3]),
                ensemble=tuple((logit + noise[:3]).tolist()),
            )
        )
    return made


_EVEN_PASSES = np.linspace(-1, 1, 50) / np.linspace(-1, 1, 50).std(ddof=1)
