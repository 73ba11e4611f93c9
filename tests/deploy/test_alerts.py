"""The alert rules, checked and tested by the real promtool, and their metrics held against those that exist."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from pellucid.core.telemetry.metrics import MetricLabels, scan_metrics, write_textfile
from pellucid.core.telemetry.training_metrics import training_metrics

FOLDER = Path(__file__).parents[2] / "deploy" / "prometheus"
RULES = FOLDER / "pellucid.rules.yml"
CASES = FOLDER / "pellucid.rules.test.yml"
ALERTS = {
    "PellucidNoProgress",
    "PellucidFailureRate",
    "PellucidDriftEvidence",
    "PellucidAuditNotVerified",
    "PellucidEngineStalled",
    "PellucidStatWaits",
    "PellucidDeviceStarved",
    "PellucidQuarantined",
    "PellucidRestartsRising",
    "PellucidPaused",
    "PellucidCertificateExpiresSoon",
    "PellucidAutonomyWithoutCertificate",
    "PellucidCheckpointOverdue",
    "PellucidTrainingStalled",
    "PellucidCheckpointFailed",
}


def promtool(*arguments, folder=FOLDER, stdin=None):
    found = shutil.which("promtool")
    assert found, "promtool is absent: install Debian's package `prometheus`"
    return subprocess.run([found, *arguments], cwd=folder, capture_output=True, text=True, timeout=60, input=stdin)


def exposition(tmp_path):
    metrics = scan_metrics(
        MetricLabels(stages=("read",), verdicts=("negative",), dispositions=("silent",), reasons=("uncertain",)),
        software_version="1.2.3",
    )
    metrics.set_model(model="m", bundle="b", name="demo", synthetic=True)
    write_textfile(metrics, tmp_path / "pellucid.prom")
    return (tmp_path / "pellucid.prom").read_text() + training_metrics("run-7").text().decode()


def test_rules_are_valid():
    result = promtool("check", "rules", RULES.name)

    assert result.returncode == 0, result.stderr
    assert f"{len(ALERTS)} rules found" in result.stdout


def test_every_firing_and_silent_case_holds():
    result = promtool("test", "rules", CASES.name)

    assert result.returncode == 0, result.stdout + result.stderr


def test_scrape_example_is_valid():
    result = promtool("check", "config", "prometheus.example.yml")

    assert result.returncode == 0, result.stdout + result.stderr


def test_all_alerts_are_there():
    assert set(re.findall(r"alert: (\w+)", RULES.read_text())) == ALERTS


@pytest.mark.parametrize("alert", sorted(ALERTS))
def test_each_alert_has_a_firing_and_a_silent_case(alert):
    cases = CASES.read_text().split("alertname: ")
    own = [case for case in cases if case.startswith(f"{alert}\n")]

    assert any("exp_alerts: []" in case for case in own)
    assert any("exp_labels" in case for case in own)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("> 1800)", "> 3600)"),
        ("> 0.2", "> 0.5"),
        (">= 2.5", ">= 5"),
        (">= ignoring", "> 2 * ignoring"),
        ("> 86400", "> 864000"),
        ("(pellucid_audit_verify_failures_total > 0)", "(increase(pellucid_audit_verify_failures_total[1h]) > 0)"),
        ("pellucid_audit_verify_failures_total > 0", "pellucid_audit_verify_failures_total >= 0"),
        ("(pellucid_drift_log_evidence_limit > 0)", "pellucid_drift_log_evidence_limit"),
        ('(sum without (state) (pellucid_queue_depth{state=~"waiting|running"}) > 0)\n          and ', ""),
        ('{state=~"waiting|running"}', ""),
        ("          unless (pellucid_paused == 1)\n", ""),
        ("seconds > 120)", "seconds > 1200)"),
        ('            unless ignoring (state) (pellucid_engine_state{state="ended"} == 1)\n', ""),
        ("            and (pellucid_scans_in_hand > 0)\n", ""),
        ("timestamp_seconds > 0)\n            and", "timestamp_seconds >= 0)\n            and"),
        ("(pellucid_tiles_per_second == 0)", "(pellucid_tiles_per_second < 0)"),
        ('{class="stat"} > 900', '{class="stat"} > 3600'),
        ('{class="stat"}', ""),
        ("(pellucid_device_busy_share < 0.5)", "(pellucid_device_busy_share < 0.6)"),
        ('          and ignoring (state) (pellucid_queue_depth{state="waiting"} > 0)\n', ""),
        ('pellucid_queue_depth{state="quarantined"} > 0', 'pellucid_queue_depth{state="quarantined"} >= 0'),
        ('{cause!="recycled"}', ""),
        ("[1h])) >= 2.5\n        for: 1m", "[1h])) >= 1.5\n        for: 1m"),
        ("pellucid_paused == 1\n        for: 1h", "pellucid_paused == 1\n        for: 10m"),
        ("(pellucid_certificate_expiry_timestamp_seconds > 0)", "pellucid_certificate_expiry_timestamp_seconds"),
        ("< 30 * 86400", "< 31 * 86400"),
        ("< 30 * 86400", "< 7 * 86400"),
        ('{verdict!="undetermined"}', ""),
        ("seconds > 3600)", "seconds > 0)"),
        ("            and (time() - pellucid_certificate_expiry_timestamp_seconds > 3600)\n", ""),
        ("          or (pellucid_autonomy_without_certificate > 0)\n", ""),
        ("> 3 * pellucid_training", "> 2 * pellucid_training"),
        ("> 3 * pellucid_training", "> 4 * pellucid_training"),
        (
            "interval_seconds)\n          and (pellucid_training_running == 1)\n",
            "interval_seconds)\n",
        ),
        ("            (pellucid_training_stalled == 1)\n            or (time()", "            (time()"),
        ("limit_seconds + 120)", "limit_seconds + 1200)"),
        ("limit_seconds + 120)", "limit_seconds * 0)"),
        (
            "or (time() - pellucid_training_last_step_timestamp_seconds > pellucid_training_stall_limit_seconds + 120)",
            "",
        ),
        ("          )\n          and (pellucid_training_running == 1)\n", "          )\n"),
        ("failures_total[1h]) > 0)\n          and (pellucid_training_running == 1)\n", "failures_total[1h]) > 0)\n"),
        (
            "(increase(pellucid_training_checkpoint_failures_total[1h]) > 0)",
            "(pellucid_training_checkpoint_failures_total > 0)",
        ),
        ("checkpoint_failures_total[1h]) > 0", "checkpoint_failures_total[1h]) >= 2.5"),
    ],
)
def test_the_cases_notice_a_changed_rule(tmp_path, before, after):
    text = RULES.read_text()
    assert before in text
    (tmp_path / RULES.name).write_text(text.replace(before, after))
    alert = text[: text.index(before)].split("- alert: ")[-1].split("\n")[0]
    head, *cases = CASES.read_text().split("\n  - name: ")
    (tmp_path / CASES.name).write_text("\n  - name: ".join([head, *(case for case in cases if alert in case)]))

    assert promtool("test", "rules", CASES.name, folder=tmp_path).returncode != 0


def test_every_metric_that_rules_name_exists(tmp_path):
    named = set(re.findall(r"\bpellucid_\w+", " ".join(re.findall(r"expr: >-\n((?: {10}.*\n)+)", RULES.read_text()))))
    exposed = {line.split("{")[0].split(" ")[0] for line in exposition(tmp_path).splitlines() if line[0] != "#"}

    assert len(named) == 26
    assert named <= exposed


def test_series_of_the_cases_exist_with_just_these_labels(tmp_path):
    series = re.findall(r"series: 'pellucid_(\w+)\{([^}]*)\}'", CASES.read_text())
    exposed = {
        (name, frozenset(re.findall(r"(\w+)=", labels)))
        for name, labels in re.findall(r"^pellucid_(\w+)(?:\{([^}]*)\})? ", exposition(tmp_path), re.MULTILINE)
    }

    assert series
    for name, labels in series:
        assert (name, frozenset(re.findall(r"(\w+)=", labels)) - {"job", "instance"}) in exposed


def test_metrics_are_well_formed_for_prometheus(tmp_path):
    result = promtool("check", "metrics", stdin=exposition(tmp_path))

    assert result.returncode == 0, result.stdout + result.stderr
