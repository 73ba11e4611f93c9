"""Which certificate a page shows is asked of the decision rule itself."""

from dataclasses import replace

import pytest

from pellucid.domain.certificate import Certificate
from pellucid.domain.decision import Decision, Disposition, Verdict, Versions
from pellucid.domain.observation import Observation
from pellucid.domain.policy import SitePolicy
from pellucid.domain.scan import ScanInfo
from pellucid.records import RecordedDecision, ScanResult
from pellucid.reports.coverage import covering_certificate
from pellucid.triage import Gates

GATES = Gates(temperature=1.3, level=0.9, sd_limit=1.0, distance_limit=6.0, synthetic_model=True)
VERSIONS = Versions(model="3f" * 32, policy="a1" * 32, software="07" * 32, software_version="0.1.0")
CERTIFICATE = Certificate(
    seen={"scanner": ("A",), "site": ("north",)},
    claims=(),
    negative=-1.0,
    positive=None,
    n_specimens=200,
    n_passed=150,
    n_positive=40,
    prevalence_low=0.15,
    prevalence_high=0.26,
    delta=0.1,
)
SPECIAL = replace(CERTIFICATE, stratum=(("site", "north"),))
POLICY = SitePolicy(
    name="north",
    required_strata=("site",),
    certificates=(CERTIFICATE,),
    model=VERSIONS.model,
    gates=GATES.digest,
    expires_on="2027-05-22",
)
RECORDED = RecordedDecision(
    decision=Decision(
        specimen="P1",
        verdict=Verdict.UNDETERMINED,
        disposition=Disposition.SILENT,
        findings=(),
        posterior=None,
        scans=("aa" * 32,),
        versions=VERSIONS,
    ),
    version=1,
    run="r1",
    at="2027-05-22T23:59:59.000Z",
)


def result(scan="aa" * 32, scanner: str | None = "A"):
    info = ScanInfo(
        width=1,
        height=1,
        level_downsamples=(1.0,),
        vendor="aperio",
        reader="r",
        scale=None,
        claimed_mpp=None,
        objective_power=None,
        scanner=scanner,
        synthetic=True,
    )
    seen = Observation(
        scan=scan,
        specimen="P1",
        run="r1",
        at="",
        purpose="run",
        scanner=scanner,
        strata={},
        mpp=None,
        mpp_source=None,
        n_tiles=0,
        features={},
        embedding=(),
        distance=None,
        mean_logit=None,
        sd_logit=None,
        probability=None,
        mutual_information=None,
        reasons=(),
        error=None,
        timings={},
        model="",
        policy="",
        software="",
    )
    return ScanResult(
        task_key="k",
        specimen="P1",
        scan=scan,
        run="r1",
        at="",
        logits=(),
        posterior=None,
        quality=None,
        info=info,
        findings=(),
        n_tiles=0,
        n_unreadable=0,
        artefacts={},
        versions=VERSIONS,
        observation=seen,
    )


def covering(policy=POLICY, strata=None, results=None, recorded=RECORDED, gates=GATES):
    return covering_certificate(
        recorded,
        strata={"site": "north"} if strata is None else strata,
        results=[result()] if results is None else results,
        gates=gates,
        policy=policy,
    )


def test_the_most_specific_certificate_is_shown():
    assert covering() == CERTIFICATE
    assert covering(policy=replace(POLICY, certificates=(CERTIFICATE, SPECIAL))) == SPECIAL


def test_scans_that_the_decision_was_not_made_of_do_not_matter():
    assert covering(results=[result(), result("bb" * 32, "B")]) == CERTIFICATE


@pytest.mark.parametrize(
    "changes",
    [
        {"policy": replace(POLICY, certificates=())},
        {"policy": replace(POLICY, model="00" * 32)},
        {"gates": replace(GATES, sd_limit=2.0)},
        {"recorded": replace(RECORDED, at="2027-05-23T00:00:00.000Z")},
        {"strata": {}},
        {"strata": {"site": "south"}},
        {"results": [result(scanner="B")]},
        {"results": [result(scanner=None)]},
        {"results": []},
    ],
    ids=["none", "model", "gates", "expired", "unknown", "unseen site", "unseen scanner", "unstated", "unread"],
)
def test_a_certificate_that_could_not_apply_is_not_shown(changes):
    assert covering(**changes) is None
