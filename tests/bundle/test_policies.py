"""What of a policy file is believed: nothing that a key of the site hasn't signed, to the byte."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pellucid.bundle import SigningKey
from pellucid.bundle.policies import (
    MAX_POLICY_BYTES,
    Meaning,
    load_policy,
    policy_bytes,
    read_policy,
    sign_policy,
    write_policy,
)
from pellucid.bundle.policy_errors import (
    PolicyAltered,
    PolicyInvalid,
    PolicyMissing,
    PolicyTooNew,
    PolicyUnsigned,
    PolicyUntrusted,
)
from pellucid.core.errors import PellucidError
from pellucid.domain.policy import Mode
from policy_parts import certificate, one_sided, site_policy

NAME = "Dr. Örs Straße"


@pytest.fixture
def file(tmp_path: Path, key: SigningKey) -> Path:
    write_policy(tmp_path / "policy.json", site_policy(), key, name=NAME)
    return tmp_path / "policy.json"


def spoil(file: Path, before: str, after: str) -> None:
    text = file.read_text()
    assert text.count(before) >= 1
    file.write_text(text.replace(before, after, 1))


def lay_out(plain: dict) -> str:
    return json.dumps(plain, indent=2, sort_keys=True, ensure_ascii=False) + "\n"


@pytest.mark.parametrize(
    "policy",
    [
        site_policy(),
        site_policy(certificates=(certificate(), one_sided())),
        site_policy(certificates=(), model=None, gates=None),
        site_policy(synthetic=True, prevalence=1),
        site_policy(certificates=(certificate(negative=-0.0, positive=5e-324, tolerance=0),)),
    ],
    ids=["both", "strata", "none", "synthetic", "odd numbers"],
)
def test_what_was_written_is_read(tmp_path: Path, key: SigningKey, policy) -> None:
    written = write_policy(tmp_path / "p.json", policy, key, name=NAME)
    loaded = load_policy(tmp_path / "p.json", [key.trusted("site")])
    assert loaded.policy == written.policy == policy
    assert loaded.digest == policy.digest
    (signature,) = loaded.signatures
    assert (signature.name, signature.meaning, signature.key_id) == (NAME, Meaning.CERTIFIED, key.key_id)
    assert loaded.verified == {key.key_id: "site"}


def test_a_person_can_read_the_file(file: Path) -> None:
    text = file.read_text()
    plain = json.loads(text)
    assert (plain["format"], plain["version"]) == ("pellucid-site-policy", 1)
    assert plain["policy"]["certificates"][0]["negative"] == -1.5
    assert plain["signatures"][0]["name"] == NAME
    assert NAME in text
    assert len(text.splitlines()) > 60
    assert text == lay_out(plain)


def test_the_first_of_several_signatures_stays_good(file: Path, key: SigningKey, tmp_path: Path) -> None:
    second = SigningKey.generate()
    first = load_policy(file, [key.trusted()])
    out = tmp_path / "both.json"
    write_policy(out, first.policy, second, name="B", meaning=Meaning.APPROVED, signatures=first.signatures)
    for trusted in ([key.trusted()], [second.trusted()], [key.trusted(), second.trusted()]):
        loaded = load_policy(out, trusted)
        assert [one.meaning for one in loaded.signatures] == [Meaning.CERTIFIED, Meaning.APPROVED]
        assert set(loaded.verified) == {one.key_id for one in trusted}


def test_a_key_that_only_bundles_trust_signs_no_policy(file: Path) -> None:
    with pytest.raises(PolicyUntrusted, match=r"site key"):
        load_policy(file, [SigningKey.generate().trusted("site key")])
    with pytest.raises(PolicyUntrusted, match=r"are: none"):
        load_policy(file, [])
    assert not read_policy(file, []).is_trusted


def test_an_edited_certificate_is_found(file: Path, key: SigningKey) -> None:
    spoil(file, '"negative": -1.5', '"negative": -0.5')
    with pytest.raises(PolicyAltered, match="Straße"):
        load_policy(file, [key.trusted()])
    assert read_policy(file, []).policy.certificates[0].negative == -0.5  # to be looked at, not to be used


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ('"mode": "silent"', '"mode": "for_review"'),
        ('"autonomous_positive": false', '"autonomous_positive": true'),
        ('"prevalence_high": 0.37', '"prevalence_high": 0.7'),
        ('"expires_on": "2099-11-22"', '"expires_on": "2199-11-22"'),
        ('"synthetic": false', '"synthetic": true'),
        ('"meaning": "certified"', '"meaning": "approved"'),
        (f'"name": "{NAME}"', '"name": "Somebody else"'),
        ("Aperio GT450", "Another scanner"),
    ],
)
def test_every_field_is_under_the_signature(file: Path, key: SigningKey, before: str, after: str) -> None:
    spoil(file, before, after)
    with pytest.raises(PolicyAltered):
        load_policy(file, [key.trusted()])


def test_one_bad_signature_of_a_known_key_spoils_the_good_ones(file: Path, key: SigningKey, tmp_path: Path) -> None:
    second = SigningKey.generate()
    first = load_policy(file, [key.trusted()])
    of_another = sign_policy(site_policy(name="south"), second, name="B", meaning=Meaning.APPROVED)
    file.write_bytes(policy_bytes(first.policy, [*first.signatures, of_another]))
    assert load_policy(file, [key.trusted()]).is_trusted  # nothing is known of that key, so it says nothing
    with pytest.raises(PolicyAltered, match=second.key_id):
        load_policy(file, [key.trusted(), second.trusted()])


def test_without_a_signature_it_says_nothing(file: Path, key: SigningKey) -> None:
    file.write_bytes(policy_bytes(site_policy(), []))
    with pytest.raises(PolicyUnsigned):
        load_policy(file, [key.trusted()])


def test_one_too_new_is_told_apart_from_a_broken_one(file: Path, key: SigningKey) -> None:
    spoil(file, '"version": 1', '"version": 2')
    with pytest.raises(PolicyTooNew):
        load_policy(file, [key.trusted()])


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ('"negative": -1.5', '"negative": NaN'),
        ('"negative": -1.5', '"negative": -1e999'),
        ('"negative": -1.5', '"negative": -1.50'),
        ('"negative": -1.5', '"negative": "-1.5"'),
        ('"negative": -1.5', '"extra": 1,\n        "negative": -1.5'),
        ('"negative": -1.5', '"negative": -9,\n        "negative": -1.5'),
        ('"negative": -1.5', '"negative": 1.5'),
        ('"mode": "silent"', '"mode": "autonomous"'),
        ('"mode": "silent"', '"mode": "loud"'),
        ('"format": "pellucid-site-policy"', '"format": "pellucid-model-bundle"'),
        ('"version": 1', '"version": true'),
        ('"version": 1', '"version": 0'),
        ('"name": "north"', '"name": "nor\\u0074h"'),
        ('"meaning": "certified"', '"meaning": "liked"'),
        ('"signature": "', '"signature": "00'),
        ('"key_id": "', '"key": 1,\n      "key_id": "'),
        ("{\n", "{\n\n"),
        ("\n", "\r\n"),
        ("{", "["),
        ('"expires_on": "2099-11-22"', '"expires_on": "20991122"'),
        ('"delta": 0.1', '"delta": 0'),
        ('"n_passed": 160', '"n_passed": 260'),
    ],
)
def test_what_is_not_a_policy_to_the_byte_is_refused(file: Path, key: SigningKey, before: str, after: str) -> None:
    spoil(file, before, after)
    with pytest.raises(PolicyInvalid):
        load_policy(file, [key.trusted()])


def test_what_is_no_file_is_named(tmp_path: Path, key: SigningKey) -> None:
    with pytest.raises(PolicyMissing, match="no policy file"):
        load_policy(tmp_path / "absent.json", [key.trusted()])
    with pytest.raises(PolicyMissing, match="can't be read"):
        load_policy(tmp_path, [key.trusted()])
    (tmp_path / "deep.json").write_text("[" * 200_000)
    with pytest.raises(PolicyInvalid):
        load_policy(tmp_path / "deep.json", [key.trusted()])
    with (tmp_path / "huge.json").open("wb") as huge:
        huge.truncate(MAX_POLICY_BYTES + 1)
    with pytest.raises(PolicyInvalid, match="larger"):
        load_policy(tmp_path / "huge.json", [key.trusted()])


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_no_edit_of_the_file_goes_unseen(file: Path, key: SigningKey, tmp_path: Path, data: st.DataObject) -> None:
    original = file.read_bytes()
    start = data.draw(st.integers(0, len(original)))
    stop = data.draw(st.integers(start, min(len(original), start + 8)))
    edited = original[:start] + data.draw(st.binary(max_size=8)) + original[stop:]
    if edited == original:
        return
    spoilt = tmp_path / "spoilt.json"
    spoilt.write_bytes(edited)
    with pytest.raises(PellucidError):
        load_policy(spoilt, [key.trusted()])


@pytest.mark.parametrize(
    "policy",
    [
        site_policy(prevalence=float("nan")),
        site_policy(certificates=(certificate(negative=float("-inf")),)),
        site_policy(name="\udcff"),
        site_policy(mode=Mode.AUTONOMOUS),
        site_policy(autonomous_positive=True, certificates=(one_sided(),)),
        site_policy(model=None),
        site_policy(certified_on="yesterday"),
        site_policy(certificates=(certificate(prevalence_low=0.5),)),
    ],
    ids=["nan", "infinite", "no text", "autonomous", "positive", "no model", "no day", "range"],
)
def test_a_policy_that_makes_no_sense_is_not_written(tmp_path: Path, key: SigningKey, policy) -> None:
    with pytest.raises(PolicyInvalid):
        write_policy(tmp_path / "p.json", policy, key, name=NAME)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["", "  ", "\udcff"])
def test_nobody_signs_without_a_name(tmp_path: Path, key: SigningKey, name: str) -> None:
    with pytest.raises(PolicyInvalid, match="name"):
        write_policy(tmp_path / "p.json", site_policy(), key, name=name)
    assert list(tmp_path.iterdir()) == []


def test_a_signature_of_a_bundle_is_none_of_a_policy(file: Path, key: SigningKey) -> None:
    from pellucid.core.digests import canonical_json
    from pellucid.core.serial import to_plain

    policy = site_policy()
    genuine = sign_policy(policy, key, name=NAME, meaning=Meaning.APPROVED)
    bare = canonical_json({"policy": to_plain(policy), "name": NAME, "meaning": "approved", "at": genuine.at})
    for signed in (bare, canonical_json(to_plain(policy)), policy.digest.encode()):
        forged = replace(genuine, signature=key.sign(signed).hex())
        file.write_bytes(policy_bytes(policy, [forged]))
        with pytest.raises(PolicyAltered):
            load_policy(file, [key.trusted()])


def test_a_full_disk_leaves_the_policy_in_force(file: Path, key: SigningKey) -> None:
    before = file.read_bytes()
    script = (
        "import resource, sys; from pathlib import Path; from policy_parts import site_policy\n"
        "from pellucid.bundle import SigningKey; from pellucid.bundle.policies import write_policy\n"
        "import signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))\n"
        "write_policy(Path(sys.argv[1]), site_policy(name='other'), SigningKey.generate(), name='x')"
    )
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[1])}
    done = subprocess.run([sys.executable, "-c", script, str(file)], capture_output=True, text=True, env=environment)
    assert done.returncode != 0
    assert "File too large" in done.stderr
    assert file.read_bytes() == before
    assert [path.name for path in file.parent.iterdir()] == ["policy.json"]


def test_policies_need_no_torch(file: Path, key: SigningKey) -> None:
    script = (
        "import sys; from pathlib import Path; from pellucid.bundle import TrustedKey\n"
        "from pellucid.bundle.policies import load_policy\n"
        "key = TrustedKey(key_id=sys.argv[2], public=bytes.fromhex(sys.argv[3]), name='k')\n"
        "print(load_policy(Path(sys.argv[1]), [key]).policy.name, 'torch' in sys.modules)"
    )
    command = [sys.executable, "-c", script, str(file), key.key_id, key.public.hex()]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["north", "False"]
