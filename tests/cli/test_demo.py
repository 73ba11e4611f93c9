"""The whole demonstration as a user runs it, and the real slides under its bundle."""

import csv
import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from pellucid.bundle import load_trusted_keys
from pellucid.bundle.policies import load_policy
from pellucid.cohort import read_cohort, read_truth
from pellucid.core.digests import digest_file
from pellucid.domain.decision import Disposition, Verdict
from pellucid.domain.reasons import Reason
from pellucid.records import DATABASE_NAME, open_records

pytestmark = pytest.mark.slow

MUST_FIND = {
    "blurred": {Reason.POOR_FOCUS},
    "penned": {Reason.ARTEFACT},
    "nearly_empty": {Reason.TOO_LITTLE_TISSUE},
    "immunostained": {Reason.OUT_OF_SCOPE},
    "corrupt_tiles": {Reason.UNREADABLE_TILES},
    "mis_scaled": {Reason.PROCESSING_FAILED},
    "scale_missing": {Reason.PROCESSING_FAILED},
    "truncated": {Reason.PROCESSING_FAILED},
    "tumour_free": {Reason.NO_TUMOUR},
    "foreign": {Reason.OUT_OF_DISTRIBUTION},
    "ambiguous": {Reason.UNCERTAIN},
}
QUALITY = {
    Reason.POOR_FOCUS,
    Reason.ARTEFACT,
    Reason.TOO_LITTLE_TISSUE,
    Reason.OUT_OF_SCOPE,
    Reason.UNREADABLE_TILES,
    Reason.PROCESSING_FAILED,
}


def found_by_kind(folder: Path) -> dict[str, list[set[Reason]]]:
    truth = read_truth(folder / "cohort")
    kinds = {
        entry.specimen: truth[entry.path.stem].kind.value for entry in read_cohort(folder / "cohort/cohort.csv").entries
    }
    found: dict[str, list[set[Reason]]] = {}
    with open_records(folder / "run" / DATABASE_NAME) as records:
        for recorded in records.decisions():
            decision = recorded.decision
            found.setdefault(kinds[decision.specimen], []).append(set(decision.reasons))
    return found


def test_each_planted_kind_is_escalated_for_its_reason(demo_folder: Path) -> None:
    found = found_by_kind(demo_folder)
    for kind, reasons in MUST_FIND.items():
        assert all(reasons <= one for one in found[kind]), (kind, found[kind])


def test_clear_specimens_are_not_blamed_for_their_quality(demo_folder: Path) -> None:
    clear = found_by_kind(demo_folder)["clear"]
    assert sum(bool(one & QUALITY) for one in clear) <= len(clear) // 10


def decided_alone(folder: Path) -> list[tuple[str, bool]]:
    """Planted kind of each specimen that was decided alone, and whether the verdict is that of its label."""
    truth = read_truth(folder / "cohort")
    entries = {one.specimen: one for one in read_cohort(folder / "cohort/cohort.csv").entries}
    alone = []
    with open_records(folder / "run" / DATABASE_NAME) as records:
        for recorded in records.decisions():
            decision, entry = recorded.decision, entries[recorded.decision.specimen]
            if decision.verdict is not Verdict.UNDETERMINED:
                assert decision.disposition is Disposition.REPORTED
                assert decision.findings == ()
                right = (decision.verdict is Verdict.POSITIVE) == (entry.label == 1)
                alone.append((truth[entry.path.stem].kind.value, right))
    return alone


def test_both_sides_are_certified_and_some_unseen_specimens_are_decided_alone(demo_folder: Path) -> None:
    (certificate,) = load_policy(
        demo_folder / "site/policy.json", load_trusted_keys([demo_folder / "site"])
    ).policy.certificates
    assert certificate.negative is not None
    assert certificate.positive is not None
    assert all((claim.bound or 0) >= claim.target == 0.9 for claim in certificate.claims)
    alone = decided_alone(demo_folder)
    assert {kind for kind, _ in alone} == {"clear"}
    assert len(alone) >= 12
    assert sum(not right for _, right in alone) <= len(alone) // 10
    with open_records(demo_folder / "certification" / DATABASE_NAME) as records:
        (entry,) = records.certifications()
        assert entry.delta == 0.1
        assert records.verify_audit().ok


def test_the_table_of_planted_kinds_against_reasons_is_printed_as_it_came_out(demo_folder: Path) -> None:
    printed = (demo_folder / "stdout.txt").read_text()
    table = printed[printed.index("Planted kind against") :]
    found = found_by_kind(demo_folder)
    alone = decided_alone(demo_folder)
    for kind, reasons in found.items():
        row = re.search(rf"│ {kind} +│ +(\d+) │ +(\d+) │ +(\d+) │ +(\d+) │", table)
        assert row is not None, kind
        total, negative, positive, wrong = map(int, row.groups())
        assert total == len(reasons)
        assert negative + positive == sum(one == kind for one, _ in alone)
        assert wrong == sum(one == kind and not right for one, right in alone)


def test_the_report_holds_the_answers_against_the_planted_labels(demo_folder: Path) -> None:
    report = json.loads((demo_folder / "run/evaluation.json").read_text())
    alone = decided_alone(demo_folder)
    rows = {row["verdict"]: row for row in report["answers"]["rows"]}
    counted = sum(rows[verdict]["mutated"] + rows[verdict]["wild_type"] for verdict in ("negative", "positive"))
    assert counted == len(alone)
    page = (demo_folder / "run/evaluation.html").read_text()
    assert "Research use only" in page
    assert not re.findall(r"https?://", page), "everything is in the page"


def test_the_answers_follow_the_planted_signal_on_unseen_specimens(demo_folder: Path) -> None:
    from pellucid.statistics.metrics import auroc

    truth = read_truth(demo_folder / "cohort")
    planted = {one.specimen: one for one in truth.values() if one.kind.value == "clear"}
    with open_records(demo_folder / "run" / DATABASE_NAME) as records:
        posteriors = {one.decision.specimen: one.decision.posterior for one in records.decisions()}
    names = [name for name in planted if posteriors.get(name) is not None]
    logits = [posteriors[name].mean_logit for name in names]  # type: ignore[union-attr]
    labels = [planted[name].label for name in names]
    lean = [planted[name].strength * (1 if planted[name].label else -1) for name in names]
    assert np.corrcoef(logits, lean)[0, 1] >= 0.6
    assert auroc(logits, labels) >= 0.7


def test_the_audit_trail_of_the_demo_holds(demo_folder: Path) -> None:
    command = [sys.executable, "-m", "pellucid", "audit", "verify", "--out", str(demo_folder / "run"), "--json"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0
    assert json.loads(done.stdout)["ok"]


def test_the_monitoring_report_answers_from_the_demo_s_observations(demo_folder: Path) -> None:
    command = [sys.executable, "-m", "pellucid", "monitor", "report", "--out", str(demo_folder / "run")]
    command += ["--bundle", str(demo_folder / "model/bundle"), "--trust", str(demo_folder / "keys"), "--json"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["synthetic"]
    assert {"seen", "confidence", "drift", "escalation"} <= set(report)


def test_the_demo_replaces_a_former_demo_only(tmp_path: Path) -> None:
    (tmp_path / "precious.txt").write_text("mine")
    command = [sys.executable, "-m", "pellucid", "demo", "--out", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 1
    assert "PEL-DEMO-001" in done.stderr
    assert (tmp_path / "precious.txt").exists()


def run_small(folder: Path) -> dict[str, str]:
    command = [sys.executable, "-m", "pellucid", "demo", "--small", "--out", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    rows = csv.DictReader((folder / "run" / "scans.csv").open())
    numbers = {row["scan_digest"]: f"{row['probability']} {row['sd_logit']} {row['distance']}" for row in rows}
    weights = {
        name: digest_file(folder / "model/bundle" / name) for name in ("encoder.safetensors", "head.safetensors")
    }
    return numbers | weights


def test_the_demo_gives_the_same_numbers_each_time(tmp_path: Path) -> None:
    assert run_small(tmp_path / "one") == run_small(tmp_path / "two")


CYTOLOGY = {Reason.TOO_LITTLE_TISSUE}  # scattered cells, no tissue
EVERY_GATE = {Reason.OUT_OF_SCOPE, Reason.TOO_LITTLE_TISSUE, Reason.POOR_FOCUS, Reason.ARTEFACT}
REAL = {
    # file: (without an override, reasons or code), (with 0.5 um/px, reasons or code)
    "CMU-1-Small-Region.svs": ("scored", "scored"),
    "TCGA-CR-7395-01A-01-TS1.svs": ("ScaleMissing", "scored"),
    "A_BB_563479_1.svs": ("ScaleAbsurd", CYTOLOGY),
    "N1_BB_563479_1.ndpi": ("ScaleAbsurd", CYTOLOGY),
    "N2_BB_563479_1.ndpi": ("ScaleAbsurd", CYTOLOGY),
    "Z_BB_563479_1.tif": ("ScaleAbsurd", CYTOLOGY),
    "CRC-AI-15_X40_IHC.tif": ("ScaleAbsurd", {Reason.OUT_OF_SCOPE, Reason.OUT_OF_DISTRIBUTION}),
    "not_a_slide_mask.tiff": ("ScaleMissing", EVERY_GATE),
    "multiframe_camelyon_challenge_image.dcm": ("ScaleTooCoarse", "ScaleTooCoarse"),
    "plain_tiff_no_pyramid.tif": ("FileUnsupported", "FileUnsupported"),
}


@pytest.fixture(scope="module")
def real_runs(demo_folder: Path, real_slides: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Every real slide through `pellucid run` under the demo bundle, without and with a scale override."""
    outs = []
    for name, extra in (("plain", []), ("override", ["--mpp", "0.5"])):
        out = tmp_path_factory.mktemp("real") / name
        command = [sys.executable, "-m", "pellucid", "run", str(real_slides), "--out", str(out), *extra]
        command += ["--bundle", str(demo_folder / "model/bundle"), "--trust", str(demo_folder / "keys")]
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        outs.append(out)
    return outs


@pytest.mark.real
@pytest.mark.parametrize("with_override", [False, True], ids=["file's scale", "0.5 um/px stated"])
@pytest.mark.parametrize("name", REAL)
def test_a_real_slide_has_its_stated_outcome(
    name: str, with_override: bool, real_runs: list[Path], real_slides: Path
) -> None:
    from pellucid.slides import errors

    expected = REAL[name][with_override]
    out = real_runs[with_override]
    with open_records(out / DATABASE_NAME) as records:
        recorded = records.decision(str(real_slides / name))
        assert recorded is not None
        decision = recorded.decision
        pseudonym = records.pseudonym("specimen", decision.specimen)
        codes = {finding.code for finding in decision.findings if finding.code}
    page = (out / "specimens" / f"{pseudonym}.html").read_text()
    assert {Reason.NO_CERTIFICATE, Reason.STRATUM_UNKNOWN} <= set(decision.reasons)
    assert "Undetermined" in page
    if isinstance(expected, str) and expected != "scored":
        error = getattr(errors, expected)
        assert codes == {error.code}
        assert decision.posterior is None
        assert error.code in page
        if expected in {"ScaleMissing", "ScaleAbsurd"}:
            assert "--mpp" in page
        return
    assert Reason.OUT_OF_SCOPE in decision.reasons, "a real scan is never decided under a synthetic model"
    if expected == "scored":
        assert decision.posterior is not None
        assert "heatmap.png" in page
    else:
        assert isinstance(expected, set)
        assert expected <= set(decision.reasons)
    assert name not in page


@pytest.mark.real
def test_a_real_slide_is_never_decided_under_the_demo_s_policy(
    demo_folder: Path, real_slides: Path, tmp_path: Path
) -> None:
    table = tmp_path / "cases.csv"
    slide = real_slides / "CMU-1-Small-Region.svs"
    table.write_text(
        f"case,specimen,path,mpp,site,specimen_type,diagnosis\nC1,S1,{slide},0.5,SYN-NORTH,resection,confirmed\n"
    )
    command = [sys.executable, "-m", "pellucid", "run", str(table), "--out", str(tmp_path / "out")]
    command += ["--bundle", str(demo_folder / "model/bundle"), "--trust", str(demo_folder / "keys")]
    command += ["--policy", str(demo_folder / "site/policy.json"), "--policy-key", str(demo_folder / "site")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    with open_records(tmp_path / "out" / DATABASE_NAME) as records:
        recorded = records.decision("S1")
    assert recorded is not None
    assert recorded.decision.verdict is Verdict.UNDETERMINED
    assert recorded.decision.disposition is Disposition.FOR_REVIEW
    assert Reason.OUT_OF_SCOPE in recorded.decision.reasons


def test_pages_of_real_slides_say_that_the_model_is_synthetic(real_runs: list[Path]) -> None:
    for page in (real_runs[1] / "specimens").glob("*.html"):
        text = page.read_text()
        assert "Synthetic model" in text
        assert "Research use only" in text
