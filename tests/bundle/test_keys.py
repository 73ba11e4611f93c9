"""Keys: private ones stay private, public ones are what they say."""

import os
import pickle
import stat
import subprocess
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519, rsa

from pellucid.bundle import (
    KeyExists,
    KeyExposed,
    KeyInvalid,
    KeyMissing,
    SigningKey,
    load_trusted_keys,
    read_keys,
    read_public_key,
)
from pellucid.core.digests import digest_bytes


@pytest.fixture
def saved(tmp_path: Path, key: SigningKey) -> Path:
    key.save(tmp_path / "site")
    return tmp_path / "site"


def test_a_saved_key_signs_as_before(saved: Path, key: SigningKey) -> None:
    again = SigningKey.load(saved)
    assert again.key_id == key.key_id == digest_bytes(key.public)[:16]
    assert again.sign(b"data") == key.sign(b"data")
    assert key.trusted().verifies(again.sign(b"data"), b"data")
    assert not key.trusted().verifies(again.sign(b"data"), b"other")


@pytest.mark.parametrize("signature", [b"", b"short", b"\0" * 64, b"\0" * 65])
def test_what_is_no_signature_verifies_nothing(key: SigningKey, signature: bytes) -> None:
    assert not key.trusted().verifies(signature, b"data")


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077])
def test_a_private_key_is_readable_by_its_owner_only_whatever_the_umask(
    tmp_path: Path, key: SigningKey, umask: int
) -> None:
    before = os.umask(umask)
    try:
        key.save(tmp_path / "site")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "site").stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "site.pub").stat().st_mode) == 0o644


@pytest.mark.parametrize("taken", ["site", "site.pub"])
def test_a_key_is_never_overwritten(tmp_path: Path, key: SigningKey, taken: str) -> None:
    (tmp_path / taken).write_text("precious")
    with pytest.raises(KeyExists, match=taken):
        key.save(tmp_path / "site")
    assert [file.name for file in tmp_path.iterdir()] == [taken]
    assert (tmp_path / taken).read_text() == "precious"


def test_a_dangling_link_is_not_written_through(tmp_path: Path, key: SigningKey) -> None:
    (tmp_path / "site").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(KeyExists):
        key.save(tmp_path / "site")
    assert not (tmp_path / "elsewhere").exists()


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o644, 0o666])
def test_a_private_key_that_others_can_get_at_is_refused(saved: Path, mode: int) -> None:
    saved.chmod(mode)
    with pytest.raises(KeyExposed, match=f"{mode:04o}"):
        SigningKey.load(saved)


def test_a_key_never_shows_its_secret(saved: Path, key: SigningKey) -> None:
    secret = saved.read_text().splitlines()[1]
    assert secret not in repr(key) + str(key)
    with pytest.raises(TypeError):
        pickle.dumps(key)


def test_the_public_file_is_what_other_tools_read(saved: Path, key: SigningKey) -> None:
    public = serialization.load_pem_public_key(saved.with_name("site.pub").read_bytes())
    assert isinstance(public, ed25519.Ed25519PublicKey)
    public.verify(key.sign(b"data"), b"data")


def test_openssl_verifies_a_bundle_signature(pristine: Path, saved: Path, tmp_path: Path) -> None:
    import json

    signature = json.loads((pristine / "signature.json").read_text())["signature"]
    (tmp_path / "signature").write_bytes(bytes.fromhex(signature))
    command = ["openssl", "pkeyutl", "-verify", "-pubin", "-inkey", f"{saved}.pub", "-rawin"]
    command += ["-in", str(pristine / "manifest.json"), "-sigfile", str(tmp_path / "signature")]
    try:
        done = subprocess.run(command, capture_output=True, text=True)
    except FileNotFoundError:
        pytest.skip("openssl's command is not installed")
    assert done.returncode == 0, done.stderr


def test_trusted_keys_come_from_files_and_folders_once_each(tmp_path: Path) -> None:
    keys = {name: SigningKey.generate() for name in ("a", "b", "c")}
    for name in ("a", "b"):
        keys[name].save(tmp_path / "keys" / name)
    keys["c"].save(tmp_path / "c")
    (tmp_path / "keys" / "README.md").write_text("not a key")
    trusted = load_trusted_keys([tmp_path / "keys", tmp_path / "c.pub", tmp_path / "keys" / "a.pub"])
    assert trusted == tuple(keys[name].trusted(name) for name in ("a", "b", "c"))


def test_an_empty_folder_trusts_nobody(tmp_path: Path) -> None:
    assert load_trusted_keys([tmp_path]) == ()
    assert load_trusted_keys([]) == ()


def test_a_trusted_key_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(KeyMissing, match="absent"):
        load_trusted_keys([tmp_path / "absent.pub"])
    with pytest.raises(KeyMissing, match="absent"):
        SigningKey.load(tmp_path / "absent")


def test_a_private_key_is_no_trusted_key(saved: Path) -> None:
    with pytest.raises(KeyInvalid, match="private key"):
        load_trusted_keys([saved])


def test_a_public_key_signs_nothing(saved: Path) -> None:
    public = saved.with_name("site.pub")
    public.chmod(0o600)
    with pytest.raises(KeyInvalid):
        SigningKey.load(public)


@pytest.mark.parametrize("data", [b"", b"ssh-ed25519 AAAA", b"\xff" * 100, b"-----BEGIN PUBLIC KEY-----\nAAAA\n"])
def test_what_is_no_key_is_refused(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "key"
    path.write_bytes(data)
    path.chmod(0o600)
    with pytest.raises(KeyInvalid, match="PEM"):
        read_public_key(path)
    with pytest.raises(KeyInvalid, match="PEM"):
        SigningKey.load(path)


def test_a_file_too_large_for_a_key_is_not_read_in(tmp_path: Path) -> None:
    path = tmp_path / "key"
    with path.open("wb") as file:
        file.truncate(1 << 33)
    with pytest.raises(KeyInvalid, match="too large"):
        read_public_key(path)


def test_another_algorithm_is_refused(tmp_path: Path) -> None:
    other = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    private, public = tmp_path / "rsa", tmp_path / "rsa.pub"
    pem = serialization.Encoding.PEM
    private.write_bytes(
        other.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()),
    )
    private.chmod(0o600)
    public.write_bytes(other.public_key().public_bytes(pem, serialization.PublicFormat.SubjectPublicKeyInfo))
    with pytest.raises(KeyInvalid, match="not ed25519"):
        SigningKey.load(private)
    with pytest.raises(KeyInvalid, match="not ed25519"):
        read_public_key(public)


def test_an_encrypted_key_is_refused_in_words(tmp_path: Path) -> None:
    path = tmp_path / "key"
    secret = ed25519.Ed25519PrivateKey.generate()
    locked = serialization.BestAvailableEncryption(b"password")
    path.write_bytes(secret.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, locked))
    path.chmod(0o600)
    with pytest.raises(KeyInvalid, match="unencrypted"):
        SigningKey.load(path)


def test_any_kind_of_key_can_be_shown(saved: Path, key: SigningKey) -> None:
    shown = [read_keys(path)[0] for path in (saved, saved.with_name("site.pub"), saved.parent)]
    assert {one.key_id for one in shown} == {key.key_id}
