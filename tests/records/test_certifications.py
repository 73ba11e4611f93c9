"""The account of delta: what was spent on a patient's labels is never spent twice, whoever asks and however often."""

import json
import subprocess
import sys

import pytest

from pellucid.core.digests import salted_digest
from pellucid.records import (
    Action,
    CertificationConflict,
    CertificationUnknown,
    DeltaSpent,
    RecordsRefused,
    ValueUnrecordable,
)

SPENDER = """
import sys
from pellucid.records import DeltaSpent, open_records
with open_records(sys.argv[1]) as records:
    print("ready", flush=True)
    sys.stdin.readline()
    try:
        entry = records.spend_delta(
            fingerprint=sys.argv[2], patients=["A", "B"], delta=0.05, budget=0.1, details={}
        )
        print("spent", entry.seq)
    except DeltaSpent as error:
        print("refused", error.context["left"])
"""


def spend(ward, fingerprint="one", patients=("A", "B"), delta=0.05, budget=0.1, **changes):
    options = {"details": {"targets": [0.9]}, "actor": "user:7"} | changes
    return ward.records.spend_delta(fingerprint=fingerprint, patients=patients, delta=delta, budget=budget, **options)


def n_events(ward):
    return ward.records.audit_head().seq


def refused(ward, **asked):
    before = n_events(ward)
    with pytest.raises(DeltaSpent) as caught:
        spend(ward, **asked)
    assert n_events(ward) == before
    return caught.value


def test_an_attempt_is_entered_before_anything_comes_of_it(ward):
    entry = spend(ward)
    event = ward.records.audit_events()[-1]
    assert (event.seq, event.content["action"]) == (entry.seq, "threshold.certify")
    assert event.content["object"] == {"type": "certification", "id": "one"}
    assert (entry.actor, entry.delta, entry.budget, entry.details) == ("user:7", 0.05, 0.1, {"targets": [0.9]})
    assert (entry.policy, entry.summary, entry.concluded_at) == (None, None, None)
    assert ward.records.certifications() == [entry]
    assert ward.records.verify_audit().ok


def test_no_patient_is_named_in_the_trail(ward):
    entry = spend(ward, patients=["MUELLER-ANNA", "SCHMIDT-BERND", "MUELLER-ANNA"])
    salt = ward.records.site_salt().hex()
    assert entry.patients == tuple(sorted(salted_digest(salt, name) for name in ("MUELLER-ANNA", "SCHMIDT-BERND")))
    told = b"".join(event.payload for event in ward.records.audit_events())
    assert b"MUELLER" not in told
    assert salt.encode() not in told


def test_the_same_attempt_spends_nothing_more(ward, reopen):
    first = spend(ward, delta=0.1)
    before = n_events(ward)
    assert spend(ward, delta=0.1, patients=["B", "A"]) == first
    again = reopen().spend_delta(fingerprint="one", patients={"A", "B"}, delta=0.1, budget=0.1, details={})
    assert again == first
    assert n_events(ward) == before


@pytest.mark.parametrize("asked", [{"delta": 0.04}, {"patients": ["A"]}, {"patients": ["A", "B", "C"]}])
def test_a_fingerprint_is_not_lent_to_another_attempt(ward, asked):
    spend(ward)
    before = n_events(ward)
    with pytest.raises(CertificationConflict):
        spend(ward, **asked)
    assert n_events(ward) == before


def test_two_halves_make_a_whole_and_not_more(ward):
    spend(ward, "one")
    spend(ward, "two")
    error = refused(ward, fingerprint="three", delta=0.001)
    assert error.context["spent"] == pytest.approx(0.1)
    assert error.context["left"] == 0
    assert "nothing of 0.1 is left" in error.message
    assert error.message.count("2 of its 2 patients") == 2
    assert "patients" in error.remedy


def test_ten_tenths_fit_into_a_budget_despite_rounding(ward):
    for number in range(10):
        spend(ward, str(number), delta=0.01, budget=0.1)
    refused(ward, fingerprint="last", delta=1e-6)


def test_new_patients_have_a_budget_of_their_own(ward):
    spend(ward, "one", patients=["A", "B"], delta=0.1)
    spend(ward, "two", patients=["C", "D"], delta=0.1)
    refused(ward, fingerprint="three", patients=["D", "E"], delta=0.01)


def test_what_shares_no_patient_counts_for_nothing_even_through_a_third_one(ward):
    spend(ward, "left", patients=["A", "B"], delta=0.04)
    spend(ward, "bridge", patients=["B", "C"], delta=0.04)
    spend(ward, "right", patients=["C", "D"], delta=0.06)  # shares nothing with the left one
    error = refused(ward, fingerprint="all", patients=["A", "D"], delta=0.04, budget=0.1)
    assert error.context["spent"] == pytest.approx(0.1)
    assert error.context["attempts"] == 2


def test_the_smallest_budget_that_was_stated_counts(ward):
    spend(ward, "one", delta=0.05, budget=0.06)
    error = refused(ward, fingerprint="two", delta=0.02, budget=0.5)
    assert error.context["budget"] == 0.06
    assert error.context["left"] == pytest.approx(0.01)
    spend(ward, "three", delta=0.01, budget=0.5)


def test_a_later_smaller_budget_is_kept_to_as_well(ward):
    spend(ward, "one", delta=0.05, budget=0.2)
    refused(ward, fingerprint="two", delta=0.05, budget=0.08)
    spend(ward, "two", delta=0.03, budget=0.08)
    refused(ward, fingerprint="three", delta=0.03, budget=0.2)


def test_a_budget_that_never_sufficed_says_so(ward):
    assert "budget itself" in refused(ward, delta=0.2, budget=0.1).message


@pytest.mark.parametrize(
    "asked",
    [
        {"delta": 0},
        {"delta": 1},
        {"delta": -0.1},
        {"delta": float("nan")},
        {"budget": float("inf")},
        {"budget": 0},
        {"patients": []},
        {"patients": ["A", ""]},
        {"patients": "AB"},
        {"fingerprint": ""},
        {"details": {"bound": float("nan")}},
    ],
)
def test_what_makes_no_sense_is_refused_and_leaves_nothing(ward, asked):
    before = n_events(ward)
    with pytest.raises(ValueUnrecordable):
        spend(ward, **asked)
    assert n_events(ward) == before
    assert ward.records.certifications() == []


def test_what_came_of_it_is_told_afterwards(ward):
    entry = spend(ward)
    ended = ward.records.conclude_certification("one", "e" * 64, {"negative": -1.5}, actor="user:7")
    assert (ended.seq, ended.policy, ended.summary) == (entry.seq, "e" * 64, {"negative": -1.5})
    assert ended.concluded_at is not None
    assert ward.records.certifications() == [ended]
    event = ward.records.audit_events()[-1].content
    assert (event["action"], event["at"]) == (Action.CERTIFIED, ended.concluded_at)
    assert event["details"] == {"policy": "e" * 64, "summary": {"negative": -1.5}}
    assert ward.records.verify_audit().ok


def test_the_same_result_is_told_once_and_another_one_after_it(ward):
    spend(ward)
    first = ward.records.conclude_certification("one", None, {"short": 12})
    before = n_events(ward)
    assert ward.records.conclude_certification("one", None, {"short": 12}) == first
    assert n_events(ward) == before
    ward.records.conclude_certification("one", "f" * 64, {})
    (entry,) = ward.records.certifications()
    assert entry.policy == "f" * 64


def test_a_result_without_an_entry_counts_for_nothing(ward):
    before = n_events(ward)
    with pytest.raises(CertificationUnknown):
        ward.records.conclude_certification("never", None, {})
    assert n_events(ward) == before


def test_the_account_is_read_from_among_many_other_events(ward):
    ward.answer("S1", "S2")
    # words that only look like the account's
    decoy = {"action": "threshold.certify", "text": '"action":"threshold.certify"'}
    ward.records.audit_append(Action.CONFIG_CHANGE, object_type="x", object_id="threshold.certify", payload=decoy)
    entries = [spend(ward, name, patients=[name]) for name in ("one", "two")]
    ward.answer("S3")
    assert ward.records.certifications() == entries


def test_nothing_is_spent_where_the_event_can_not_be_written(ward):
    ward.fault("audit_event")
    with pytest.raises(RecordsRefused, match="fault"):
        spend(ward)
    ward.mend("audit_event")
    assert ward.records.certifications() == []
    assert spend(ward).seq == n_events(ward)


def test_an_entry_that_was_removed_shows(ward):
    entry = spend(ward)
    spend(ward, "two", patients=["C"])
    ward.tamper(f"DELETE FROM audit_event WHERE seq = {entry.seq}")
    assert not ward.records.verify_audit().ok


def test_processes_at_once_cannot_both_spend_the_last_delta(ward):
    spend(ward, "first", delta=0.05)
    command = [sys.executable, "-c", SPENDER, ward.address]
    spenders = [
        subprocess.Popen([*command, f"f{number}"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for number in range(4)
    ]
    for spender in spenders:
        assert spender.stdout is not None
        assert spender.stdout.readline() == "ready\n"
    for spender in spenders:
        assert spender.stdin is not None
        spender.stdin.write("\n")
        spender.stdin.flush()
    said = sorted(spender.communicate()[0].split()[0] for spender in spenders)
    assert said == ["refused", "refused", "refused", "spent"]
    assert sum(entry.delta for entry in ward.records.certifications()) == pytest.approx(0.1)
    assert ward.records.verify_audit().ok


def test_processes_at_once_with_one_fingerprint_spend_once(ward):
    command = [sys.executable, "-c", SPENDER, ward.address, "same"]
    spenders = [subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    said = {spender.communicate("\n")[0].split()[-1] for spender in spenders}
    (entry,) = ward.records.certifications()
    assert said == {str(entry.seq)}


def test_an_entry_is_plain_json(ward):
    from pellucid.core.serial import to_plain

    assert json.loads(json.dumps(to_plain(spend(ward))))["fingerprint"] == "one"
