"""`pellucid policy` as people type it: what they are told, what they sign, what they put into force."""

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from pellucid.bundle import KeyExposed, SigningKey
from pellucid.bundle.policies import Meaning, load_policy, write_policy
from pellucid.bundle.policy_errors import (
    ActivationRefused,
    PolicyAltered,
    PolicyMissing,
    PolicyUntrusted,
    PrevalenceOutside,
)
from pellucid.cli.policy import app, certificate_tables
from pellucid.core.errors import PellucidError
from pellucid.domain.policy import Mode
from pellucid.records import RecordsUnavailable, open_records
from policy_parts import certificate, one_sided, site_policy


@dataclass
class Desk:
    """A site with settings, two keys of its own, a certified policy and records."""

    folder: Path
    key: SigningKey
    second: SigningKey

    @property
    def policy(self) -> Path:
        return self.folder / "policy.json"

    @property
    def active(self) -> Path:
        return self.folder / "active.json"

    def run(self, *words: object, columns: int = 160) -> Result:
        command, *rest = map(str, words)
        options = ["--config", str(self.folder / "pellucid.toml")]
        return CliRunner().invoke(app, [command, *rest, *options], env={"COLUMNS": str(columns)})

    def said(self, *words: object, columns: int = 160) -> str:
        done = self.run(*words, columns=columns)
        assert done.exit_code == 0, (done.output, done.exception)
        return done.output

    def refused(self, *words: object) -> PellucidError:
        done = self.run(*words)
        assert done.exit_code == 1
        assert isinstance(done.exception, PellucidError), done.output
        return done.exception

    def activate(self, *words: object, **changes: str) -> list[object]:
        asked = {"mode": "autonomous", "by": "Dr. B", "reason": "The silent trial agreed", "prevalence": "0.3"}
        asked |= {"key": str(self.folder / "keys" / "a"), "out": str(self.active), "records": str(self.folder)}
        asked |= changes
        options = [part for name, value in asked.items() if value for part in (f"--{name}", value)]
        return ["activate", self.policy, *options, *words]


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    key, second = SigningKey.generate(), SigningKey.generate()
    key.save(tmp_path / "keys" / "a")
    second.save(tmp_path / "keys" / "b")
    (tmp_path / "pellucid.toml").write_text('policy_keys = ["keys"]\npolicy = "active.json"\n')
    write_policy(tmp_path / "policy.json", site_policy(), key, name="Dr. A")
    open_records(tmp_path / "records.sqlite").close()
    return Desk(tmp_path, key, second)


def words_of(text: str) -> str:
    return " ".join(text.split())


def test_a_policy_is_told_in_plain_words(desk: Desk) -> None:
    told = words_of(desk.said("show", desk.policy))
    for sentence in (
        "Research use only",
        "silent: answers are recorded and shown to nobody",
        "200 specimens, one a patient; 60 mutated; 160 passed every gate",
        "at or below p = 0.1824 (logit -1.5000)",
        "switched off (certified: where the whole interval is at or above p = 0.9047 (logit 2.2500))",
        "Of the specimens answered negative, at least 90% are so; shown: at least 92.34%, with 95% confidence",
        "95% confidence (1 wrong of 60 such answers).",
        "10% = 5% + 5%, a claim each in this order",
        "from 24% to 37% mutated",
        "covers scanner Aperio GT450",
        "holds until 2099-11-22",
        "2; their digests are in the file",
        f"Dr. A, {load_policy(desk.policy, [desk.key.trusted()]).signatures[0].at}, key {desk.key.key_id}, trusted (a)",
    ):
        assert sentence in told
    assert "SYNTHETIC" not in told
    assert "NOT TRUSTED" not in told


def test_every_kind_of_claim_and_what_is_missing_is_told(desk: Desk) -> None:
    write_policy(desk.policy, site_policy(certificates=(certificate(), one_sided())), desk.key, name="Dr. A")
    told = words_of(desk.said("show", desk.policy))
    for sentence in (
        "Certificate 2 of 2: site north",
        "20% in all (delta)",
        "Of the mutated specimens, at most 5% get the answer negative; shown: at most 4.71%, with 98% confidence",
        "98% confidence (0 of 60 mutated specimens got it).",
        "as long as at most 40% are mutated",
        "never: no threshold was certified",
        "not shown, with 95% confidence (0 wrong of 0 such answers)",
        "Too few specimens are surely positive.",
    ):
        assert sentence in told


@pytest.mark.parametrize("columns", [40, 60, 80, 200])
def test_nothing_is_lost_or_torn_on_a_narrow_terminal(desk: Desk, columns: int) -> None:
    write_policy(desk.policy, site_policy(certificates=(certificate(), one_sided())), desk.key, name="Dr. A")
    told = desk.said("show", desk.policy, columns=columns)
    assert max(map(len, told.splitlines())) <= columns
    squeezed = "".join(told.split())
    for piece in (
        "logit-1.5000",
        "GT450",
        "Aperio",
        "resection",
        "Toofewspecimens",
        desk.key.key_id[:8],
        "2099-11-22",
        "92.34",
    ):
        assert piece in squeezed


def test_generated_slides_expiry_and_missing_certificates_are_said_first(desk: Desk) -> None:
    old = replace(site_policy(synthetic=True), expires_on="2026-01-01")
    write_policy(desk.policy, old, desk.key, name="Dr. A")
    told = words_of(desk.said("show", desk.policy))
    assert told.index("SYNTHETIC") < told.index("expired on 2026-01-01") < told.index("mode silent")
    write_policy(desk.policy, site_policy(certificates=()), desk.key, name="Dr. A")
    assert "none: every specimen is for a person to decide" in words_of(desk.said("show", desk.policy))


def test_json_holds_all_of_it(desk: Desk) -> None:
    told = json.loads(desk.said("show", desk.policy, "--json"))
    assert (told["trusted"], told["warnings"], told["digest"]) == (True, [], site_policy().digest)
    assert told["policy"]["certificates"][0]["claims"][0]["bound"] == 0.92349
    assert told["signatures"][0]["trusted"] is True


def test_a_policy_of_strangers_is_shown_as_such_and_ends_with_an_error(desk: Desk) -> None:
    stranger = SigningKey.generate()
    write_policy(desk.policy, site_policy(), stranger, name="A maker")
    done = desk.run("show", desk.policy)
    assert "NOT TRUSTED" in done.output
    assert isinstance(done.exception, PolicyUntrusted)
    public = stranger.save(desk.folder / "other")
    assert "NOT TRUSTED" not in desk.said("show", desk.policy, "--policy-key", public)


def test_an_edited_policy_is_not_even_shown(desk: Desk) -> None:
    desk.policy.write_text(desk.policy.read_text().replace("-1.5", "-0.5"))
    done = desk.run("show", desk.policy)
    assert isinstance(done.exception, PolicyAltered)
    assert done.output == ""


def test_a_second_person_signs_beside_the_first(desk: Desk) -> None:
    desk.said("sign", desk.policy, "--key", desk.folder / "keys" / "b", "--name", "Dr. B", "--meaning", "approved")
    signed = load_policy(desk.policy, [desk.key.trusted(), desk.second.trusted()])
    assert [(one.name, one.meaning) for one in signed.signatures] == [
        ("Dr. A", Meaning.CERTIFIED),
        ("Dr. B", Meaning.APPROVED),
    ]
    assert "approved" in desk.said("show", desk.policy)


def test_a_signature_can_go_into_another_file(desk: Desk) -> None:
    before = desk.policy.read_bytes()
    out = desk.folder / "approved.json"
    answer = desk.said("sign", desk.policy, "--key", desk.folder / "keys" / "b", "--name", "B", "--out", out, "--json")
    assert json.loads(answer) == {"file": str(out), "digest": site_policy().digest, "key_id": desk.second.key_id}
    assert desk.policy.read_bytes() == before
    assert len(load_policy(out, [desk.second.trusted()]).signatures) == 2


def test_nobody_signs_what_only_strangers_signed_before(desk: Desk) -> None:
    write_policy(desk.policy, site_policy(), SigningKey.generate(), name="A maker")
    before = desk.policy.read_bytes()
    own = desk.folder / "keys" / "b"
    assert isinstance(desk.refused("sign", desk.policy, "--key", own, "--name", "B"), PolicyUntrusted)
    assert desk.policy.read_bytes() == before


@pytest.mark.parametrize("meaning", ["activated", "liked"])
def test_an_activation_is_not_signed_by_hand(desk: Desk, meaning: str) -> None:
    before = desk.policy.read_bytes()
    done = desk.run("sign", desk.policy, "--key", desk.folder / "keys" / "b", "--name", "B", "--meaning", meaning)
    assert done.exit_code == 2
    assert desk.policy.read_bytes() == before


def test_a_key_that_others_can_read_signs_nothing(desk: Desk) -> None:
    (desk.folder / "keys" / "b").chmod(0o644)
    assert isinstance(desk.refused("sign", desk.policy, "--key", desk.folder / "keys" / "b", "--name", "B"), KeyExposed)


def test_a_policy_is_put_into_force_and_the_trail_tells_of_it(desk: Desk) -> None:
    told = desk.said(*desk.activate())
    assert "in the mode autonomous" in told
    active = load_policy(desk.active, [desk.key.trusted()])
    assert (active.policy.mode, active.policy.autonomous_positive) == (Mode.AUTONOMOUS, False)
    with open_records(desk.folder / "records.sqlite") as records:
        event = records.audit_events()[-1].content
        assert records.verify_audit().ok
    assert event["actor"].startswith("user:")
    assert (event["details"]["from"], event["details"]["to"]) == (site_policy().digest, active.digest)
    shown = words_of(desk.said("show", desk.active))
    assert "put in force by Dr. B: The silent trial agreed" in shown
    assert "30% of the specimens to be mutated" in shown


def test_the_database_of_the_settings_is_used_where_none_is_named(desk: Desk) -> None:
    settings = desk.folder / "pellucid.toml"
    settings.write_text(f'{settings.read_text()}database = "sqlite:///{desk.folder}/records.sqlite"\n')
    answer = json.loads(desk.said(*desk.activate("--json", "--autonomous-positive", records="")))
    assert answer["policy"]["autonomous_positive"] is True
    assert answer["replaces"] == site_policy().digest


def test_without_an_audit_trail_nothing_comes_into_force(desk: Desk) -> None:
    assert desk.run(*desk.activate(records="")).exit_code == 2
    assert isinstance(desk.refused(*desk.activate(records=str(desk.folder / "keys"))), RecordsUnavailable)
    assert not desk.active.exists()


def test_a_key_that_the_site_does_not_list_puts_nothing_into_force(desk: Desk) -> None:
    SigningKey.generate().save(desk.folder / "other")
    error = desk.refused(*desk.activate(key=str(desk.folder / "other")))
    assert isinstance(error, PolicyUntrusted)
    assert not desk.active.exists()


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"prevalence": "0.6"}, PrevalenceOutside),
        ({"prevalence": ""}, PrevalenceOutside),
        ({"reason": " "}, ActivationRefused),
        ({"by": " "}, ActivationRefused),
    ],
)
def test_what_is_refused_leaves_no_file_and_no_event(
    desk: Desk, change: dict[str, str], error: type[PellucidError]
) -> None:
    with open_records(desk.folder / "records.sqlite") as records:
        before = records.audit_head()
        assert isinstance(desk.refused(*desk.activate(**change)), error)
        assert records.audit_head() == before
    assert not desk.active.exists()


def test_an_unknown_mode_is_wrong_usage(desk: Desk) -> None:
    assert desk.run(*desk.activate(mode="loud")).exit_code == 2


def test_a_missing_file_is_named(desk: Desk) -> None:
    assert isinstance(desk.refused("show", desk.folder / "absent.json"), PolicyMissing)


def test_the_certificates_alone_can_be_printed(capsys: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "120")
    certificate_tables(site_policy())
    told = words_of(capsys.readouterr().out)
    assert "Certificate 1 of 1: all specimens" in told
    assert "same population" in told
