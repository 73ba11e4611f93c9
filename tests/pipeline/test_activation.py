"""Putting a policy into force: the file and the audit event, both or neither."""

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from pellucid.bundle import SigningKey
from pellucid.bundle.policies import Meaning, SignedPolicy, load_policy, read_policy, write_policy
from pellucid.bundle.policy_errors import PolicyUntrusted, PrevalenceOutside
from pellucid.core.errors import PellucidError
from pellucid.domain.policy import Mode
from pellucid.pipeline.activation import put_in_force
from pellucid.records import Records, open_records
from policy_parts import site_policy

ASKED = {"mode": Mode.AUTONOMOUS, "by": "Dr. B", "reason": "The silent trial agreed", "prevalence": 0.3}


@pytest.fixture
def records(tmp_path: Path) -> Iterator[Records]:
    with open_records(tmp_path / "records.sqlite") as opened:
        yield opened


@pytest.fixture
def certified(tmp_path: Path, key: SigningKey) -> SignedPolicy:
    return write_policy(tmp_path / "policy.json", site_policy(), key, name="Dr. A")


@pytest.fixture
def active(tmp_path: Path) -> Path:
    """Where the policy in force lies: a folder of its own, so that what is left over shows."""
    (tmp_path / "force").mkdir()
    return tmp_path / "force" / "active.json"


def test_the_file_says_who_and_the_trail_says_from_what_to_what(
    certified: SignedPolicy, active: Path, records: Records, key: SigningKey
) -> None:
    put_in_force(certified, active, records, key=key, actor="user:b", **ASKED)
    loaded = load_policy(active, [key.trusted()])
    policy = loaded.policy
    assert (policy.mode, policy.activated_by, policy.prevalence) == (Mode.AUTONOMOUS, "Dr. B", 0.3)
    assert [(one.name, one.meaning) for one in loaded.signatures] == [("Dr. B", Meaning.ACTIVATED)]
    event = records.audit_events()[-1].content
    assert (event["action"], event["actor"]) == ("policy.activate", "user:b")
    assert event["object"] == {"type": "policy", "id": policy.digest}
    details = event["details"]
    assert (details["from"], details["to"]) == (certified.digest, policy.digest)
    assert (details["mode_before"], details["mode"]) == ("silent", "autonomous")
    assert (details["by"], details["reason"]) == ("Dr. B", "The silent trial agreed")
    assert records.verify_audit().ok


def test_a_policy_in_force_is_taken_back_from_its_own_file(
    certified: SignedPolicy, active: Path, records: Records, key: SigningKey
) -> None:
    first = put_in_force(certified, active, records, key=key, **ASKED)
    loaded = load_policy(active, [key.trusted()])
    put_in_force(loaded, active, records, key=key, mode=Mode.SILENT, by="Dr. C", reason="An alarm")
    assert load_policy(active, [key.trusted()]).policy.mode is Mode.SILENT
    assert records.audit_events()[-1].content["details"]["from"] == first.digest


def test_what_is_refused_leaves_the_policy_in_force_and_no_event(
    certified: SignedPolicy, active: Path, records: Records, key: SigningKey
) -> None:
    put_in_force(certified, active, records, key=key, **ASKED)
    before, seq = active.read_bytes(), records.audit_head().seq
    with pytest.raises(PrevalenceOutside):
        put_in_force(certified, active, records, key=key, **(ASKED | {"prevalence": 0.9}))
    assert (active.read_bytes(), records.audit_head().seq) == (before, seq)


def test_a_policy_that_nobody_trusted_signed_is_not_put_into_force(
    certified: SignedPolicy, active: Path, records: Records, key: SigningKey, tmp_path: Path
) -> None:
    unknown = read_policy(tmp_path / "policy.json", [])
    with pytest.raises(PolicyUntrusted):
        put_in_force(unknown, active, records, key=key, **ASKED)
    assert list(active.parent.iterdir()) == []


def test_without_its_event_a_policy_does_not_come_into_force(
    certified: SignedPolicy, active: Path, records: Records, key: SigningKey, tmp_path: Path
) -> None:
    active.write_text("in force")
    with sqlite3.connect(tmp_path / "records.sqlite") as connection:
        connection.execute("CREATE TRIGGER fault BEFORE INSERT ON audit_event BEGIN SELECT RAISE(ABORT, 'fault'); END")
    connection.close()
    with pytest.raises(PellucidError):
        put_in_force(certified, active, records, key=key, **ASKED)
    assert [path.read_text() for path in active.parent.iterdir()] == ["in force"]


def test_a_place_that_can_not_be_written_leaves_no_event(
    certified: SignedPolicy, tmp_path: Path, records: Records, key: SigningKey
) -> None:
    (tmp_path / "file").write_text("in the way")
    seq = records.audit_head().seq
    with pytest.raises(OSError, match="file"):
        put_in_force(certified, tmp_path / "file" / "active.json", records, key=key, **ASKED)
    assert records.audit_head().seq == seq
