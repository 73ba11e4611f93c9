import csv
import json
import math
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pellucid.domain.certificate import Certificate
from pellucid.domain.decision import Decision, Disposition, Verdict, Versions
from pellucid.domain.policy import Mode, SitePolicy
from pellucid.domain.posterior import Posterior
from pellucid.domain.reasons import Finding, Reason
from pellucid.exports import Belief, Licence, Origin, ScanRow, SpecimenRow, scan_schema, specimen_schema, write_results
from pellucid.statistics.posterior import logit_interval

VERSIONS = Versions(model="3f" * 32, policy="a1" * 32, software="07" * 32, software_version="0.1.0")
ORIGIN = Origin(run="R-1", bundle="demo", bundle_digest="b4" * 32, synthetic=True, versions=VERSIONS)
POSTERIOR = Posterior(
    logits=(0.1, 0.2, 0.3),
    temperature=1.3,
    probability=0.1 + 0.2,
    mean_probability=0.3,
    mean_logit=-0.84,
    sd_logit=0.1,
    low=0.25,
    high=1 / 3,
    level=0.9,
    entropy=0.6,
    mutual_information=1e-17,
    n_scans=1,
)
CERTIFICATE = Certificate(
    stratum=(("site", "north"),),
    claims=(),
    negative=-0.1 - 0.2,
    positive=2 / 3,
    n_specimens=200,
    n_passed=150,
    n_positive=40,
    prevalence_low=0.15,
    prevalence_high=0.26,
    delta=0.1,
)
DECISION = Decision(
    specimen="case-7-A",
    verdict=Verdict.UNDETERMINED,
    disposition=Disposition.FOR_REVIEW,
    findings=(Finding(reason=Reason.NO_CERTIFICATE, detail=""), Finding(reason=Reason.POOR_FOCUS, detail="")),
    posterior=POSTERIOR,
    scans=("aa" * 32,),
    versions=VERSIONS,
)
SPECIMEN = SpecimenRow.of(
    DECISION,
    pseudonym="S-0412",
    origin=ORIGIN,
    n_scans=2,
    n_scans_failed=1,
    strata={"site": "north", "specimen_type": "resection"},
    decided_at="2026-11-23T10:18:02.001Z",
    decision_version=1,
    audit_sequence=1184,
)
SCAN = ScanRow(
    scan="S-0412-1",
    specimen="S-0412",
    scan_digest="aa" * 32,
    belief=Belief.of(POSTERIOR),
    origin=ORIGIN,
    width=2220,
    height=2967,
    mpp=0.499,
    mpp_source="file",
    n_tiles=14,
    quality={"focus": 0.55, "stain": None},
    quality_missed=("focus",),
    timings={"read": 0.1 + 0.7},
)
FAILED = ScanRow(
    scan="S-0412-2",
    specimen="S-0412",
    scan_digest="bb" * 32,
    belief=Belief(),
    origin=ORIGIN,
    error="PEL-SLIDE-001",
    error_sentence="Can't open /data/Smith_John.svs.",
    error_remedy="Check the path.",
)


def read_csv(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_five_files_are_written_and_nothing_else(tmp_path):
    paths = write_results(tmp_path, [SPECIMEN], [SCAN, FAILED])
    assert set(paths) == {"results.parquet", "results.csv", "results.json", "scans.parquet", "scans.csv"}
    assert {path.name for path in tmp_path.iterdir()} == set(paths)
    assert all(path == tmp_path / name for name, path in paths.items())


def test_parquet_gives_back_every_value(tmp_path):
    paths = write_results(tmp_path, [SPECIMEN], [SCAN, FAILED])
    (specimen,) = pq.read_table(paths["results.parquet"]).to_pylist()
    assert specimen["probability"] == 0.1 + 0.2
    assert specimen["high"] == 1 / 3
    assert specimen["mutual_information"] == 1e-17
    assert specimen["n_passes"] == 3
    assert specimen["reasons"] == ["poor_focus", "no_certificate"]
    assert dict(specimen["strata"]) == SPECIMEN.strata
    assert specimen["audit_sequence"] == 1184
    scan, failed = pq.read_table(paths["scans.parquet"]).to_pylist()
    assert dict(scan["quality"]) == SCAN.quality
    assert dict(scan["timings"]) == SCAN.timings
    assert scan["quality_missed"] == ["focus"]
    assert failed["probability"] is None
    assert failed["error"] == "PEL-SLIDE-001"


def test_columns_are_those_of_schema_version_1_and_described(tmp_path):
    assert specimen_schema().names == [
        *("specimen", "verdict", "disposition", "reasons", "probability", "mean_probability", "low", "high", "level"),
        *("mean_logit", "sd_logit", "entropy", "mutual_information", "temperature", "n_passes", "n_scans"),
        *("n_scans_failed", "strata", "decided_at", "decision_version", "audit_sequence", "run", "bundle"),
        *("bundle_digest", "model", "policy", "software", "software_version", "synthetic", "research_use_only"),
        *("low_logit", "high_logit", "policy_mode", "certificate", "negative_threshold", "positive_threshold"),
        "tolerance",
    ]
    assert scan_schema().names[-5:] == [
        *("low_logit", "high_logit", "tumour_share", "deterministic_logit", "ensemble_mean_logit"),
    ]
    for schema in (specimen_schema(), scan_schema()):
        assert all(field.metadata[b"description"] for field in schema)
        assert len(set(schema.names)) == len(schema.names)
    paths = write_results(tmp_path, [], [])
    assert pq.read_schema(paths["results.parquet"]).remove_metadata().names == specimen_schema().names
    assert pq.read_schema(paths["scans.parquet"]).equals(scan_schema())
    assert paths["results.csv"].read_text().strip().split(",") == specimen_schema().names


def test_every_row_says_research_use_synthetic_and_versions(tmp_path):
    paths = write_results(tmp_path, [SPECIMEN], [SCAN, FAILED])
    rows = [
        *pq.read_table(paths["results.parquet"]).to_pylist(),
        *pq.read_table(paths["scans.parquet"]).to_pylist(),
        *json.loads(paths["results.json"].read_text())["specimens"],
        *json.loads(paths["results.json"].read_text())["scans"],
    ]
    assert len(rows) == 6
    for row in rows:
        assert row["research_use_only"] is True
        assert row["synthetic"] is True
        assert (row["model"], row["policy"], row["software"]) == (VERSIONS.model, VERSIONS.policy, VERSIONS.software)
    for row in (*read_csv(paths["results.csv"]), *read_csv(paths["scans.csv"])):
        assert row["research_use_only"] == row["synthetic"] == "true"
        assert row["software_version"] == "0.1.0"


@pytest.mark.parametrize("synthetic", [True, False])
def test_the_files_metadata_say_it_too(tmp_path, synthetic: bool):
    row = replace(SPECIMEN, origin=replace(ORIGIN, synthetic=synthetic))
    paths = write_results(tmp_path, [row], [])
    metadata = pq.read_schema(paths["results.parquet"]).metadata
    assert metadata[b"pellucid.schema_version"] == b"1"
    assert b"Research use only" in metadata[b"pellucid.notice"]
    assert (b"Synthetic model" in metadata[b"pellucid.notice"]) is synthetic
    document = json.loads(paths["results.json"].read_text())
    assert document["schema_version"] == "1"
    assert document["synthetic"] is synthetic
    assert document["notice"] == metadata[b"pellucid.notice"].decode()


@settings(max_examples=50, deadline=None)
@given(st.floats(allow_nan=False, allow_infinity=False))
def test_a_float_keeps_every_bit_in_every_format(tmp_path_factory, value: float):
    folder = tmp_path_factory.mktemp("floats")
    paths = write_results(folder, [replace(SPECIMEN, belief=replace(SPECIMEN.belief, mean_logit=value))], [])
    read = (
        pq.read_table(paths["results.parquet"]).to_pylist()[0]["mean_logit"],
        float(read_csv(paths["results.csv"])[0]["mean_logit"]),
        json.loads(paths["results.json"].read_text())["specimens"][0]["mean_logit"],
    )
    assert all(one == value and math.copysign(1, one) == math.copysign(1, value) for one in read)


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\r", "\n", " =", "＝"])
def test_text_of_a_user_is_no_formula_in_a_spreadsheet(tmp_path, start: str):
    hostile = f'{start}HYPERLINK("x")'
    rows = [replace(SCAN, scanner=hostile, vendor=hostile)]
    paths = write_results(tmp_path, [replace(SPECIMEN, strata={hostile: "x"})], rows)
    (scan,) = read_csv(paths["scans.csv"])
    assert scan["scanner"].startswith("'")
    assert scan["scanner"][1:] == hostile
    assert read_csv(paths["results.csv"])[0]["strata"].startswith("'")
    assert pq.read_table(paths["scans.parquet"]).to_pylist()[0]["scanner"] == hostile


def test_a_negative_number_is_still_a_number(tmp_path):
    paths = write_results(tmp_path, [SPECIMEN], [])
    assert read_csv(paths["results.csv"])[0]["mean_logit"] == "-0.84"


@settings(max_examples=50, deadline=None)
@given(st.text(st.characters(codec="utf-8"), max_size=60))
def test_any_text_stays_in_its_cell(tmp_path_factory, text: str):
    folder = tmp_path_factory.mktemp("text")
    paths = write_results(folder, [], [replace(SCAN, scanner=text), FAILED])
    rows = read_csv(paths["scans.csv"])
    assert len(rows) == 2
    assert rows[0]["scanner"] in {text, f"'{text}"}
    assert rows[0]["reader"] == ""


def test_absent_values_are_empty_or_null_never_a_number(tmp_path):
    paths = write_results(tmp_path, [], [FAILED])
    (row,) = read_csv(paths["scans.csv"])
    assert row["probability"] == row["mpp"] == row["n_passes"] == row["quality"] == ""
    assert json.loads(paths["results.json"].read_text())["scans"][0]["mpp"] is None


def test_no_file_name_leaves_with_an_error(tmp_path):
    for path in write_results(tmp_path, [], [FAILED]).values():
        assert b"Smith" not in path.read_bytes()


def test_a_number_that_is_none_stops_before_anything_is_written(tmp_path):
    row = replace(SPECIMEN, belief=replace(SPECIMEN.belief, probability=float("nan")))
    with pytest.raises(ValueError, match="nan"):
        write_results(tmp_path, [row], [])
    assert list(tmp_path.iterdir()) == []


def test_parquet_opens_as_arrow_maps(tmp_path):
    paths = write_results(tmp_path, [], [SCAN])
    assert pq.read_schema(paths["scans.parquet"]).field("quality").type == pa.map_(pa.string(), pa.float64())


def test_a_measure_that_could_not_be_taken_is_null(tmp_path):
    paths = write_results(tmp_path, [], [replace(SCAN, quality={"focus": float("nan"), "pen": 0.5})])
    assert json.loads(paths["results.json"].read_text())["scans"][0]["quality"] == {
        "focus": None,
        "pen": 0.5,
    }
    assert read_csv(paths["scans.csv"])[0]["quality"] == "focus=;pen=0.5"


@pytest.mark.parametrize("positive_on", [True, False])
def test_mode_thresholds_and_interval_come_back_bit_by_bit_from_every_format(tmp_path, positive_on: bool):
    policy = SitePolicy(
        name="north", mode=Mode.SILENT, certificates=(CERTIFICATE,), autonomous_positive=positive_on, model="3f" * 32
    )
    paths = write_results(tmp_path, [replace(SPECIMEN, licence=Licence.of(policy, CERTIFICATE))], [])
    low, high = logit_interval(POSTERIOR)
    expected = {
        "policy_mode": "silent",
        "certificate": "site north",
        "negative_threshold": -0.1 - 0.2,
        "positive_threshold": 2 / 3 if positive_on else None,
        "tolerance": 1e-3,
        "low_logit": low,
        "high_logit": high,
    }
    (parquet,) = pq.read_table(paths["results.parquet"]).to_pylist()
    (document,) = json.loads(paths["results.json"].read_text())["specimens"]
    (cells,) = read_csv(paths["results.csv"])
    assert {name: parquet[name] for name in expected} == expected
    assert {name: document[name] for name in expected} == expected
    for name, value in expected.items():
        assert cells[name] == ("" if value is None else value if isinstance(value, str) else repr(value))


def test_without_a_certificate_the_mode_is_told_and_no_threshold(tmp_path):
    paths = write_results(tmp_path, [replace(SPECIMEN, licence=Licence.of(SitePolicy(name="local"), None))], [])
    (row,) = pq.read_table(paths["results.parquet"]).to_pylist()
    assert row["policy_mode"] == "for_review"
    assert row["certificate"] is row["negative_threshold"] is row["positive_threshold"] is None


def test_what_is_kept_for_comparison_comes_back_with_each_scan(tmp_path):
    scan = replace(SCAN, tumour_share=0.1 + 0.2, deterministic_logit=-1 / 3, ensemble_mean_logit=-0.7)
    paths = write_results(tmp_path, [], [scan, FAILED])
    expected = {"tumour_share": 0.1 + 0.2, "deterministic_logit": -1 / 3, "ensemble_mean_logit": -0.7}
    first, failed = pq.read_table(paths["scans.parquet"]).to_pylist()
    assert {name: first[name] for name in expected} == expected
    assert {failed[name] for name in expected} == {None}
    cells, absent = read_csv(paths["scans.csv"])
    assert {name: float(cells[name]) for name in expected} == expected
    assert {absent[name] for name in expected} == {""}
