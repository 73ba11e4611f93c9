"""What of a bundle is believed: nothing that a trusted key hasn't signed, byte for byte."""

import dataclasses
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from pellucid.bundle import (
    BundleAltered,
    BundleMissing,
    BundleParts,
    BundleTooNew,
    BundleUnreadable,
    BundleUnsigned,
    BundleUntrusted,
    GoldenMismatch,
    ManifestInvalid,
    ModelDigestMismatch,
    SignatureInvalid,
    SigningKey,
    load_bundle,
)
from pellucid.bundle.golden import compare_golden
from pellucid.bundle.manifest import REQUIRED
from pellucid.core.digests import digest_file
from pellucid.core.errors import PellucidError
from pellucid.encoders import state_digest
from pellucid.encoders.errors import WeightsAltered

CONTENT = REQUIRED[2]
ALL_FILES = (*CONTENT, "manifest.json", "signature.json")
Resign = Callable[..., None]


def test_what_was_built_is_loaded(pristine: Path, parts: BundleParts, key: SigningKey) -> None:
    bundle = load_bundle(pristine, [key.trusted("maker")])
    assert bundle.name == "tiny"
    assert bundle.synthetic
    assert bundle.spec == parts.spec
    assert bundle.head_config == parts.head_config
    assert bundle.calibration == parts.calibration
    assert bundle.reference == parts.reference
    assert bundle.model_card.endswith(parts.model_card)
    assert bundle.manifest.provenance == parts.provenance
    assert bundle.signed_by == key.trusted("maker")
    assert bundle.digest == digest_file(pristine / "manifest.json") == bundle.manifest.digest


def test_the_loaded_model_is_the_one_that_went_in(pristine: Path, parts: BundleParts, key: SigningKey) -> None:
    bundle = load_bundle(pristine, [key.trusted()])
    assert np.array_equal(bundle.load_encoder().encode(parts.golden.pixels), parts.golden.embeddings)
    assert state_digest(bundle.load_head().state_dict()) == state_digest(parts.head_state)
    bundle.check_golden()


def test_loading_needs_no_torch(pristine: Path, key: SigningKey) -> None:
    script = (
        "import sys; from pathlib import Path; from pellucid.bundle import TrustedKey, load_bundle\n"
        "key = TrustedKey(key_id=sys.argv[2], public=bytes.fromhex(sys.argv[3]), name='k')\n"
        "print(load_bundle(Path(sys.argv[1]), [key]).name, 'torch' in sys.modules)"
    )
    command = [sys.executable, "-c", script, str(pristine), key.key_id, key.public.hex()]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["tiny", "False"]


@pytest.mark.parametrize("name", ALL_FILES)
@pytest.mark.parametrize("where", [0.0, 0.5, 1.0])
def test_one_altered_bit_in_any_file_is_found(bundle_folder: Path, key: SigningKey, name: str, where: float) -> None:
    data = bytearray((bundle_folder / name).read_bytes())
    data[round(where * (len(data) - 1))] ^= 1
    (bundle_folder / name).write_bytes(data)
    with pytest.raises(PellucidError) as caught:
        load_bundle(bundle_folder, [key.trusted()])
    if name in CONTENT:
        assert isinstance(caught.value, BundleAltered)
        assert caught.value.context["file"] == name


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_no_edit_of_manifest_or_signature_goes_unseen(
    pristine: Path, key: SigningKey, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    name = data.draw(st.sampled_from(["manifest.json", "signature.json"]))
    original = (pristine / name).read_bytes()
    start = data.draw(st.integers(0, len(original)))
    stop = data.draw(st.integers(start, min(len(original), start + 8)))
    edited = original[:start] + data.draw(st.binary(max_size=8)) + original[stop:]
    if edited == original:
        return
    folder = tmp_path_factory.mktemp("edited") / "bundle"
    folder.mkdir()
    for file in pristine.iterdir():
        os.link(file, folder / file.name)
    (folder / name).unlink()
    (folder / name).write_bytes(edited)
    with pytest.raises(PellucidError):
        load_bundle(folder, [key.trusted()])
    shutil.rmtree(folder)


@pytest.mark.parametrize("name", CONTENT)
def test_a_missing_file_is_named(bundle_folder: Path, key: SigningKey, name: str) -> None:
    (bundle_folder / name).unlink()
    with pytest.raises(BundleAltered, match=f"{name} .* is missing"):
        load_bundle(bundle_folder, [key.trusted()])


@pytest.mark.parametrize("name", CONTENT)
def test_a_truncated_file_is_named(bundle_folder: Path, key: SigningKey, name: str) -> None:
    size = (bundle_folder / name).stat().st_size
    os.truncate(bundle_folder / name, size - 1)
    with pytest.raises(BundleAltered, match=f"{name} .* has {size - 1} bytes instead of {size}"):
        load_bundle(bundle_folder, [key.trusted()])


@pytest.mark.parametrize("name", ["notes.txt", ".hidden", "pytorch_model.bin"])
def test_an_added_file_is_named(bundle_folder: Path, key: SigningKey, name: str) -> None:
    (bundle_folder / name).write_text("more")
    with pytest.raises(BundleAltered, match=f"{name} .* does not belong"):
        load_bundle(bundle_folder, [key.trusted()])


def test_an_added_folder_is_refused(bundle_folder: Path, key: SigningKey) -> None:
    (bundle_folder / "more").mkdir()
    with pytest.raises(BundleAltered, match=r"more .* not a plain file"):
        load_bundle(bundle_folder, [key.trusted()])


@pytest.mark.parametrize("name", ALL_FILES)
def test_a_link_is_refused_even_to_the_right_bytes(
    bundle_folder: Path, pristine: Path, key: SigningKey, name: str
) -> None:
    (bundle_folder / name).unlink()
    (bundle_folder / name).symlink_to(pristine / name)
    with pytest.raises(BundleAltered, match=f"{name} .* not a plain file"):
        load_bundle(bundle_folder, [key.trusted()])


def test_a_pipe_is_refused_not_waited_for(bundle_folder: Path, key: SigningKey) -> None:
    (bundle_folder / "manifest.json").unlink()
    os.mkfifo(bundle_folder / "manifest.json")
    with pytest.raises(BundleAltered, match="not a plain file"):
        load_bundle(bundle_folder, [key.trusted()])


def test_no_folder_and_no_manifest_are_told_apart_from_harm(tmp_path: Path, key: SigningKey) -> None:
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "absent", tmp_path / "file", tmp_path):
        with pytest.raises((BundleMissing, BundleAltered)):
            load_bundle(path, [key.trusted()])
    with pytest.raises(BundleMissing, match="no bundle at"):
        load_bundle(tmp_path / "absent", [key.trusted()])
    (tmp_path / "empty").mkdir()
    with pytest.raises(BundleMissing, match=r"no manifest\.json"):
        load_bundle(tmp_path / "empty", [key.trusted()])


_LOAD_EACH = """
import sys
from pathlib import Path
from pellucid.bundle import BundleUnreadable, load_bundle, load_trusted_keys
folder = Path(sys.argv[1])
trusted = load_trusted_keys([Path(sys.argv[2])])
for name in sys.argv[3:]:
    mode = (folder / name).stat().st_mode
    (folder / name).chmod(0)
    try:
        load_bundle(folder, trusted)
    except BundleUnreadable as error:
        print(name, error.message)
    (folder / name).chmod(mode)
"""


def test_a_file_without_permission_is_unreadable_not_altered(
    bundle_folder: Path, key: SigningKey, tmp_path: Path
) -> None:
    public = key.save(tmp_path / "key.pem")
    # Root reads everything unless it gives that right up.
    drop = ["setpriv", "--bounding-set=-dac_override,-dac_read_search", "--inh-caps=-all"] if os.geteuid() == 0 else []
    command = [*drop, sys.executable, "-c", _LOAD_EACH, str(bundle_folder), str(public), *ALL_FILES]
    lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    assert [line.split()[0] for line in lines] == list(ALL_FILES)
    assert all("can't be read: Permission denied" in line for line in lines)


def test_a_path_the_system_refuses_is_unreadable(tmp_path: Path, key: SigningKey) -> None:
    with pytest.raises(BundleUnreadable, match="File name too long"):
        load_bundle(tmp_path / ("long" * 200), [key.trusted()])


def test_a_bundle_without_signature_is_refused(bundle_folder: Path, key: SigningKey) -> None:
    (bundle_folder / "signature.json").unlink()
    with pytest.raises(BundleUnsigned):
        load_bundle(bundle_folder, [key.trusted()])


def test_a_bundle_signed_by_an_untrusted_key_says_whose_and_how_to_trust_it(
    bundle_folder: Path, key: SigningKey, resign: Resign
) -> None:
    stranger = SigningKey.generate()
    resign(bundle_folder, stranger)
    with pytest.raises(BundleUntrusted, match=stranger.key_id) as caught:
        load_bundle(bundle_folder, [key.trusted("maker")])
    assert "maker" in caught.value.message
    assert "trusted_keys" in caught.value.remedy


def test_no_trusted_key_trusts_nothing(pristine: Path) -> None:
    with pytest.raises(BundleUntrusted, match="trusted are: none"):
        load_bundle(pristine, [])


def test_a_key_that_travels_with_the_bundle_is_never_used(
    bundle_folder: Path, key: SigningKey, resign: Resign, tmp_path: Path
) -> None:
    stranger = SigningKey.generate()
    resign(bundle_folder, stranger)
    stranger.save(tmp_path / "stranger")
    signature = json.loads((bundle_folder / "signature.json").read_text())
    (bundle_folder / "signature.json").write_text(json.dumps(signature | {"public_key": stranger.public.hex()}))
    with pytest.raises(SignatureInvalid):
        load_bundle(bundle_folder, [key.trusted()])
    resign(bundle_folder, stranger, lambda plain: plain.update(public_key=stranger.public.hex()))
    with pytest.raises(ManifestInvalid):
        load_bundle(bundle_folder, [key.trusted()])
    resign(bundle_folder, stranger, lambda plain: plain.pop("public_key"))
    shutil.copy(tmp_path / "stranger.pub", bundle_folder / "stranger.pub")
    with pytest.raises(BundleAltered, match=r"stranger\.pub"):
        load_bundle(bundle_folder, [key.trusted()])


def test_a_stranger_who_claims_a_trusted_key_id_is_refused(
    bundle_folder: Path, key: SigningKey, resign: Resign
) -> None:
    from pellucid.core.digests import canonical_json

    resign(bundle_folder, SigningKey.generate())
    signature = json.loads((bundle_folder / "signature.json").read_text())
    (bundle_folder / "signature.json").write_bytes(canonical_json(signature | {"key_id": key.key_id}))
    with pytest.raises(SignatureInvalid, match=key.key_id):
        load_bundle(bundle_folder, [key.trusted()])


def test_an_edited_manifest_breaks_the_signature(bundle_folder: Path, key: SigningKey) -> None:
    text = (bundle_folder / "manifest.json").read_text()
    (bundle_folder / "manifest.json").write_text(text.replace('"synthetic":true', '"synthetic":false'))
    with pytest.raises(SignatureInvalid):
        load_bundle(bundle_folder, [key.trusted()])


@pytest.mark.parametrize("name", ["../outside", "/etc/passwd", "sub/file", "..", "", "extra.bin", "signature.json"])
def test_a_manifest_can_name_no_file_of_its_own(
    bundle_folder: Path, key: SigningKey, resign: Resign, name: str
) -> None:
    resign(bundle_folder, key, lambda plain: plain["files"].update({name: {"sha256": "0" * 64, "size": 1}}))
    with pytest.raises(ManifestInvalid, match="which no bundle of format 2 holds"):
        load_bundle(bundle_folder, [key.trusted()])


@pytest.mark.parametrize("name", CONTENT)
def test_a_manifest_can_leave_out_no_file(bundle_folder: Path, key: SigningKey, resign: Resign, name: str) -> None:
    resign(bundle_folder, key, lambda plain: plain["files"].pop(name))
    with pytest.raises(ManifestInvalid, match=f"does not list {name}"):
        load_bundle(bundle_folder, [key.trusted()])


def test_a_newer_format_is_refused_by_its_number(bundle_folder: Path, key: SigningKey, resign: Resign) -> None:
    resign(bundle_folder, key, lambda plain: plain.update(format_version=3, something_new={}))
    with pytest.raises(BundleTooNew, match=r"format 3; .* up to 2"):
        load_bundle(bundle_folder, [key.trusted()])


@pytest.mark.parametrize(
    "edit",
    [
        {"format": "other"},
        {"format_version": "1"},
        {"format_version": 0},
        {"format_version": True},
        {"synthetic": "yes"},
        {"encoder": {}},
        {"files": []},
        {"surplus": 1},
    ],
)
def test_a_manifest_that_breaks_its_format_is_refused(
    bundle_folder: Path, key: SigningKey, resign: Resign, edit: dict
) -> None:
    resign(bundle_folder, key, lambda plain: plain.update(edit))
    with pytest.raises(ManifestInvalid):
        load_bundle(bundle_folder, [key.trusted()])


@pytest.mark.parametrize("data", [b"", b"[]", b"null", b"{", b"\xff\xfe", b"[" * 200_000, b" " * (2 << 20), b"{}"])
def test_what_is_no_manifest_is_refused(bundle_folder: Path, key: SigningKey, data: bytes) -> None:
    (bundle_folder / "manifest.json").write_bytes(data)
    with pytest.raises(ManifestInvalid):
        load_bundle(bundle_folder, [key.trusted()])


@pytest.mark.parametrize("data", [b"", b"[]", b"{}", b"null", b"[" * 4000, b'{"key_id":1,"signature":2}', b" " * 9000])
def test_what_is_no_signature_is_refused(bundle_folder: Path, key: SigningKey, data: bytes) -> None:
    (bundle_folder / "signature.json").write_bytes(data)
    with pytest.raises((SignatureInvalid, ManifestInvalid), match="signature"):
        load_bundle(bundle_folder, [key.trusted()])


@pytest.mark.parametrize("field", ["model_digest", "head_digest"])
def test_a_signed_digest_that_is_not_the_models_is_refused(
    bundle_folder: Path, key: SigningKey, resign: Resign, field: str
) -> None:
    resign(bundle_folder, key, lambda plain: plain.update({field: "0" * 64}))
    with pytest.raises(ModelDigestMismatch):
        load_bundle(bundle_folder, [key.trusted()])


def test_the_model_digest_covers_spec_and_head(bundle_folder: Path, key: SigningKey, resign: Resign) -> None:
    for part, field, value in (("encoder", "mpp", 0.25), ("head", "gate_dropout", 0.5)):
        resign(bundle_folder, key, lambda plain, p=part, f=field, v=value: plain[p].update({f: v}))
        with pytest.raises(ModelDigestMismatch):
            load_bundle(bundle_folder, [key.trusted()])


def test_another_mask_scheme_is_not_guessed_at(bundle_folder: Path, key: SigningKey, resign: Resign) -> None:
    resign(bundle_folder, key, lambda plain: plain.update(mask_scheme="dice/9"))
    with pytest.raises(BundleTooNew, match="dice/9"):
        load_bundle(bundle_folder, [key.trusted()])


def test_the_temperature_is_no_part_of_the_model_digest(bundle_folder: Path, key: SigningKey, resign: Resign) -> None:
    before = load_bundle(bundle_folder, [key.trusted()])
    _edit_json(bundle_folder / "calibration.json", temperature=2.5)
    resign(bundle_folder, key)
    after = load_bundle(bundle_folder, [key.trusted()])
    assert after.calibration.temperature == 2.5
    assert after.model_digest == before.model_digest
    assert after.digest != before.digest


@pytest.mark.parametrize(
    "edit", [{"temperature": 0}, {"temperature": -1}, {"n_passes": 1}, {"level": 1.0}, {"n_positive": 99}, {"more": 1}]
)
def test_a_calibration_that_cannot_be_used_is_refused(
    bundle_folder: Path, key: SigningKey, resign: Resign, edit: dict
) -> None:
    _edit_json(bundle_folder / "calibration.json", **edit)
    resign(bundle_folder, key)
    with pytest.raises(ManifestInvalid, match=r"calibration\.json"):
        load_bundle(bundle_folder, [key.trusted()])


def test_other_encoder_weights_under_a_good_signature_are_refused(
    bundle_folder: Path, key: SigningKey, resign: Resign
) -> None:
    _nudge(bundle_folder / "encoder.safetensors")
    resign(bundle_folder, key)
    with pytest.raises(WeightsAltered):
        load_bundle(bundle_folder, [key.trusted()]).check_golden()


def test_other_head_weights_under_a_good_signature_are_refused(
    bundle_folder: Path, key: SigningKey, resign: Resign
) -> None:
    _nudge(bundle_folder / "head.safetensors")
    resign(bundle_folder, key)
    with pytest.raises(ModelDigestMismatch, match=r"head\.safetensors"):
        load_bundle(bundle_folder, [key.trusted()]).load_head()


@pytest.mark.parametrize(("array", "what"), [("embeddings", "tile embeddings"), ("logits", "bag logits")])
def test_golden_outputs_that_are_not_reproduced_are_refused(
    bundle_folder: Path, key: SigningKey, resign: Resign, array: str, what: str
) -> None:
    arrays = load_file(bundle_folder / "golden.safetensors")
    arrays[array] = arrays[array] + 0.01
    save_file(arrays, bundle_folder / "golden.safetensors")
    resign(bundle_folder, key)
    with pytest.raises(GoldenMismatch, match=what):
        load_bundle(bundle_folder, [key.trusted()]).check_golden()


def test_weights_swapped_after_loading_are_noticed(bundle_folder: Path, key: SigningKey) -> None:
    bundle = load_bundle(bundle_folder, [key.trusted()])
    for name in ("encoder.safetensors", "head.safetensors", "golden.safetensors"):
        _nudge(bundle_folder / name)
    with pytest.raises(WeightsAltered):
        bundle.load_encoder()
    with pytest.raises(ModelDigestMismatch):
        bundle.load_head()
    with pytest.raises(BundleAltered, match="golden"):
        bundle.golden()
    for name in ("encoder.safetensors", "head.safetensors"):
        os.truncate(bundle_folder / name, 100)
    for load in (bundle.load_encoder, bundle.load_head):
        with pytest.raises(BundleAltered, match="since it was verified"):
            load()


def _edit_json(path: Path, **values: object) -> None:
    from pellucid.core.digests import canonical_json

    path.write_bytes(canonical_json(json.loads(path.read_text()) | values))


def _nudge(path: Path) -> None:
    arrays = load_file(path)
    name = next(name for name in sorted(arrays) if arrays[name].is_floating_point())
    arrays[name] = arrays[name] + 0.01
    save_file(arrays, path)


@pytest.mark.parametrize(
    ("precision", "shift", "passes"), [("float32", 0.01, False), ("bfloat16", 0.01, True), ("bfloat16", 0.2, False)]
)
def test_golden_embeddings_may_differ_as_far_as_the_precision_rounds(
    bundle_folder: Path, key: SigningKey, precision: str, shift: float, passes: bool
) -> None:
    bundle = load_bundle(bundle_folder, [key.trusted()])
    encoder, golden = bundle.load_encoder(), bundle.golden()
    encoder.spec = dataclasses.replace(encoder.spec, precision=precision)
    moved = dataclasses.replace(golden, embeddings=golden.embeddings + np.float32(shift))
    if passes:
        compare_golden(moved, encoder, bundle.load_head(), model=bundle.model_digest)
        return
    with pytest.raises(GoldenMismatch, match="tile embeddings"):
        compare_golden(moved, encoder, bundle.load_head(), model=bundle.model_digest)
