"""What a run leaves: observations, decisions, metrics, log, pages, tables and an explanation of each answer."""

import csv
import json
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from pellucid.bundle import Bundle
from pellucid.domain.cohort import Cohort
from pellucid.pipeline import explain_specimen, gather, run_cohort
from pellucid.pipeline.errors import DecisionDiffers, NothingToRun
from pellucid.records import DATABASE_NAME, open_records
from pellucid.reports.publish import publish


@pytest.fixture(scope="module")
def finished(
    cohort: Cohort, bundle: Bundle, silent: object, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, Cohort]:
    """A run over the whole small cohort, published."""
    from pellucid.domain.policy import SitePolicy

    out = tmp_path_factory.mktemp("run") / "out"
    run_cohort(cohort, bundle, out, policy=SitePolicy(name="test"), events=silent)  # type: ignore[arg-type]
    with open_records(out / DATABASE_NAME) as records:
        publish(records, out, reference=bundle.reference, model=bundle.model_digest, model_card=bundle.model_card)
    return out, cohort


def test_each_scan_writes_one_observation(finished: tuple[Path, Cohort]) -> None:
    out, cohort = finished
    with open_records(out / DATABASE_NAME) as records:
        observations = records.observations()
    assert len(observations) == len({entry.path for entry in cohort.entries})
    scored = [observation for observation in observations if observation.error is None]
    assert scored
    for observation in scored:
        assert observation.mpp is not None
        assert observation.features
        assert observation.embedding
        assert observation.timings["encode"] > 0
        assert observation.probability is not None
        assert observation.strata["site"]


def test_metrics_count_what_happened_and_hold_every_combination(finished: tuple[Path, Cohort]) -> None:
    out, _ = finished
    lines = (out / "metrics.prom").read_text().splitlines()
    values = {line.rsplit(" ", 1)[0]: float(line.rsplit(" ", 1)[1]) for line in lines if not line.startswith("#")}
    with open_records(out / DATABASE_NAME) as records:
        decisions, observations = records.decisions(), records.observations()
    failed = sum(value for name, value in values.items() if name.startswith("pellucid_slides_failed_total"))
    assert values["pellucid_slides_completed_total"] + failed == len(observations)
    undetermined = 'pellucid_triage_decisions_total{disposition="for_review",verdict="undetermined"}'
    assert values[undetermined] == len(decisions)
    assert values['pellucid_escalations_total{reason="monitoring_hold"}'] == 0
    assert values['pellucid_escalations_total{reason="no_certificate"}'] == len(decisions)


def test_the_log_is_json_with_run_and_scan(finished: tuple[Path, Cohort]) -> None:
    out, _ = finished
    lines = [json.loads(line) for line in (out / "run.jsonl").read_text().splitlines()]
    about_scans = [line for line in lines if line["event"] in {"scan scored", "scan failed"}]
    assert about_scans
    assert all(line["run_id"] and line["scan"].startswith("F-") for line in about_scans)


def test_every_answer_is_explained_from_what_is_stored(finished: tuple[Path, Cohort]) -> None:
    out, cohort = finished
    with open_records(out / DATABASE_NAME) as records:
        for specimen in cohort.specimens():
            explanation = explain_specimen(records, specimen)
            assert explanation.derived == explanation.recorded.decision
            assert explain_specimen(records, explanation.pseudonym).pseudonym == explanation.pseudonym


def test_the_explain_command_needs_no_torch(finished: tuple[Path, Cohort]) -> None:
    out, cohort = finished
    code = (
        "import sys\nsys.argv = ['pellucid', 'explain', sys.argv[1], '--out', sys.argv[2]]\n"
        "from pellucid.cli.main import app\n"
        "try: app()\nfinally: assert 'torch' not in sys.modules"
    )
    specimen = next(iter(cohort.specimens()))
    command = [sys.executable, "-c", code, specimen, str(out)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "follows from the recorded evidence" in done.stdout


def test_an_altered_result_no_longer_explains_its_decision(finished: tuple[Path, Cohort], tmp_path: Path) -> None:
    out, cohort = finished
    copy = tmp_path / DATABASE_NAME
    with sqlite3.connect(out / DATABASE_NAME) as source, sqlite3.connect(copy) as target:
        source.backup(target)
    specimen = next(name for name, entries in cohort.specimens().items() if len(entries) == 1)
    with sqlite3.connect(copy) as target:
        changed = target.execute(
            "UPDATE scan_result SET temperature = 9.0, logits = zeroblob(80) WHERE specimen = ?", (specimen,)
        )
        assert changed.rowcount == 1
    with open_records(copy) as records:
        with pytest.raises(DecisionDiffers):
            explain_specimen(records, specimen)
        assert not records.verify_audit().ok


def test_pages_and_tables_carry_pseudonyms_and_never_names(finished: tuple[Path, Cohort]) -> None:
    out, cohort = finished
    texts = {
        path: path.read_text()
        for path in out.rglob("*")
        if path.suffix in {".html", ".csv", ".json", ".jsonl", ".prom"}
    }
    assert len(texts) > len(cohort.specimens())
    for entry in cohort.entries:
        for name in (entry.path.name, entry.path.stem, entry.specimen, entry.case, entry.slide, entry.patient):
            assert not [path for path, text in texts.items() if name in text], name
    rows = list(csv.DictReader((out / "results.csv").open()))
    assert len(rows) == len(cohort.specimens())
    assert all((out / "specimens" / f"{row['specimen']}.html").exists() for row in rows)


def test_a_pseudonym_leads_back_to_its_specimen_and_the_look_up_is_audited(
    finished: tuple[Path, Cohort], tmp_path: Path
) -> None:
    out, cohort = finished
    with sqlite3.connect(out / DATABASE_NAME) as source, sqlite3.connect(tmp_path / DATABASE_NAME) as target:
        source.backup(target)
    specimen = next(iter(cohort.specimens()))
    with open_records(tmp_path / DATABASE_NAME) as records:
        pseudonym = records.pseudonym("specimen", specimen)
    command = [sys.executable, "-m", "pellucid", "identify", pseudonym, "--out", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert specimen in done.stdout
    with open_records(tmp_path / DATABASE_NAME) as records:
        last = records.audit_events()[-1].content
    assert (last["action"], last["object"]["id"]) == ("identity.lookup", pseudonym)
    assert last["actor"].startswith("user:")


def test_no_label_or_macro_image_is_anywhere_in_the_output(finished: tuple[Path, Cohort]) -> None:
    out, _ = finished
    names = {path.stem.removesuffix("_sd") for path in out.rglob("*.png")}
    plain = {name for name in names if not name.startswith("top_tile_")}
    assert plain == {"thumbnail", "icon", "tissue", "tiles", "focus", "pen", "stain", "heatmap"}


def test_bare_files_have_an_unknown_stratum(slide_of: Callable[[str], Path]) -> None:
    cohort = gather([slide_of("clear"), slide_of("clear")])
    assert len(cohort.entries) == 1
    assert cohort.entries[0].strata == ()


def test_files_of_one_scan_in_a_folder_are_one_scan(tmp_path: Path) -> None:
    head = bytes(128) + b"DICM" + b"\x20\x00\x0e\x00UI"
    for name, series in (("1.dcm", b"1.2.3\0"), ("2.dcm", b"1.2.3\0"), ("3.dcm", b"1.2.4\0")):
        (tmp_path / name).write_bytes(head + len(series).to_bytes(2, "little") + series)
    (tmp_path / "a.jpg").write_bytes(b"part")
    (tmp_path / "b.vms").write_text("[Virtual Microscope Specimen]\nImageFile=a.jpg\n")
    (tmp_path / "c.svs").write_bytes(b"other")
    names = [entry.path.name for entry in gather([tmp_path]).entries]
    assert names == ["1.dcm", "3.dcm", "b.vms", "c.svs"]


def test_inputs_that_hold_no_scan_or_mix_kinds_are_refused(tmp_path: Path, synthetic: Path) -> None:
    with pytest.raises(NothingToRun):
        gather([])
    with pytest.raises(NothingToRun):
        gather([tmp_path])
    with pytest.raises(NothingToRun):
        gather([synthetic / "cohort.csv", synthetic / "slides"])
    with pytest.raises(NothingToRun):
        gather([synthetic / "cohort.csv"], mpp=0.5)
