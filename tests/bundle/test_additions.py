"""What format 2 adds to a bundle: an ensemble, a tumour head, the patients' digests and the tuning record."""

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from safetensors.torch import load_file, save_file

from pellucid.aggregators import GatedAttention
from pellucid.aggregators.errors import HeadWeightsMismatch
from pellucid.bundle import (
    BundleAltered,
    BundleParts,
    ManifestInvalid,
    PartsInvalid,
    SigningKey,
    build_bundle,
    load_bundle,
)
from pellucid.core.digests import canonical_json, salted_digest
from pellucid.domain.tumour import TumourHead
from pellucid.domain.tuning import PatientDigests, TuningSpecimen
from pellucid.encoders import state_digest

Resign = Callable[..., None]
SALT = "5a" * 16
PATIENTS = PatientDigests(
    salt=SALT,
    training=tuple(sorted(salted_digest(SALT, name) for name in ("Anna", "Berta"))),
    tuning=(salted_digest(SALT, "Clara"),),
)
TUNING = (
    TuningSpecimen(mean_logit=-1.25, sd_logit=0.5, low_logit=-2.0, high_logit=-0.5, label=0, passed=True),
    TuningSpecimen(mean_logit=2.0, sd_logit=0.0, low_logit=2.0, high_logit=2.0, label=1, passed=False),
)


@pytest.fixture(scope="module")
def full(parts: BundleParts) -> BundleParts:
    """Parts with all that format 2 can hold."""
    return replace(
        parts,
        ensemble=tuple(GatedAttention(parts.head_config, seed=seed).state_dict() for seed in range(2, 14)),
        tumour=tumour_head(parts.spec.dim),
        patients=PATIENTS,
        tuning=TUNING,
    )


def tumour_head(dim: int) -> TumourHead:
    return TumourHead(
        weights=tuple(0.1 * n for n in range(dim)), bias=-1.5, threshold=0.5, limit=0.05, n_tiles=900, auroc=0.97
    )


@pytest.fixture
def folder(tmp_path: Path, full: BundleParts, key: SigningKey) -> Path:
    return build_bundle(tmp_path / "full", full, key)


def test_what_was_added_is_loaded_as_it_went_in(folder: Path, full: BundleParts, key: SigningKey) -> None:
    bundle = load_bundle(folder, [key.trusted()])
    assert (bundle.tumour, bundle.patients, bundle.tuning) == (full.tumour, PATIENTS, TUNING)
    heads = bundle.load_ensemble()
    assert len(heads) == bundle.ensemble_size == 12
    assert [state_digest(head.state_dict()) for head in heads] == [state_digest(state) for state in full.ensemble]
    assert not any(head.training for head in heads)


def test_additions_change_no_digest_of_the_model_and_no_golden_output(
    folder: Path, pristine: Path, key: SigningKey
) -> None:
    bundle, plain = (load_bundle(place, [key.trusted()]) for place in (folder, pristine))
    assert bundle.model_digest == plain.model_digest
    assert bundle.digest != plain.digest
    np.testing.assert_array_equal(bundle.golden().logits, plain.golden().logits)


def test_a_bundle_without_additions_holds_a_tuning_record_and_no_other_new_file(
    pristine: Path, key: SigningKey
) -> None:
    bundle = load_bundle(pristine, [key.trusted()])
    assert (bundle.tumour, bundle.patients, bundle.tuning, bundle.load_ensemble()) == (None, None, (), ())
    assert json.loads((pristine / "tuning.json").read_text()) == {"patients": None, "specimens": []}
    assert {"ensemble.safetensors", "tumour.json"}.isdisjoint(file.name for file in pristine.iterdir())


def test_looking_at_an_ensemble_needs_no_torch(folder: Path, key: SigningKey) -> None:
    script = (
        "import sys; from pathlib import Path; from pellucid.bundle import TrustedKey, load_bundle\n"
        "key = TrustedKey(key_id=sys.argv[2], public=bytes.fromhex(sys.argv[3]), name='k')\n"
        "print(load_bundle(Path(sys.argv[1]), [key]).ensemble_size, 'torch' in sys.modules)"
    )
    command = [sys.executable, "-c", script, str(folder), key.key_id, key.public.hex()]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout.split() == ["12", "False"]


@pytest.fixture
def first_format(bundle_folder: Path, key: SigningKey, resign: Resign) -> Path:
    """A bundle as the first format had it: six files, of which none is new."""
    (bundle_folder / "tuning.json").unlink()
    return _as_version(bundle_folder, 1, key, resign)


def _as_version(folder: Path, version: int, key: SigningKey, resign: Resign) -> Path:
    manifest = json.loads((folder / "manifest.json").read_text())
    present = {file.name for file in folder.iterdir()} - {"manifest.json", "signature.json"}
    manifest["files"] = {name: {} for name in present}
    manifest["format_version"] = version
    (folder / "manifest.json").write_text(json.dumps(manifest))
    resign(folder, key)
    return folder


def test_a_bundle_of_the_first_format_loads(first_format: Path, parts: BundleParts, key: SigningKey) -> None:
    assert len(list(first_format.iterdir())) == 8
    bundle = load_bundle(first_format, [key.trusted()])
    assert bundle.manifest.format_version == 1
    assert bundle.calibration == parts.calibration
    assert (bundle.tumour, bundle.patients, bundle.tuning, bundle.ensemble_size) == (None, None, (), 0)
    assert bundle.load_ensemble() == ()
    bundle.check_golden()


@pytest.mark.parametrize("name", ["tuning.json", "tumour.json", "ensemble.safetensors"])
def test_a_bundle_of_the_first_format_with_a_later_file_is_refused(
    first_format: Path, folder: Path, key: SigningKey, resign: Resign, name: str
) -> None:
    (first_format / name).write_bytes((folder / name).read_bytes())
    with pytest.raises(BundleAltered, match=f"{name} .* does not belong"):
        load_bundle(first_format, [key.trusted()])
    _as_version(first_format, 1, key, resign)
    with pytest.raises(ManifestInvalid, match=f"'{name}', which no bundle of format 1 holds"):
        load_bundle(first_format, [key.trusted()])


def test_a_bundle_of_the_second_format_without_its_tuning_record_is_refused(
    folder: Path, key: SigningKey, resign: Resign
) -> None:
    (folder / "tuning.json").unlink()
    _as_version(folder, 2, key, resign)
    with pytest.raises(ManifestInvalid, match=r"does not list tuning\.json"):
        load_bundle(folder, [key.trusted()])


@pytest.mark.parametrize("name", ["tumour.json", "ensemble.safetensors"])
def test_an_optional_file_can_go_only_with_a_signature(
    folder: Path, key: SigningKey, resign: Resign, name: str
) -> None:
    (folder / name).unlink()
    with pytest.raises(BundleAltered, match=f"{name} .* is missing"):
        load_bundle(folder, [key.trusted()])
    _as_version(folder, 2, key, resign)
    load_bundle(folder, [key.trusted()])


@pytest.mark.parametrize("name", ["tuning.json", "tumour.json", "ensemble.safetensors"])
def test_one_altered_bit_of_an_addition_is_found(folder: Path, key: SigningKey, name: str) -> None:
    data = bytearray((folder / name).read_bytes())
    data[len(data) // 2] ^= 1
    (folder / name).write_bytes(data)
    with pytest.raises(BundleAltered) as caught:
        load_bundle(folder, [key.trusted()])
    assert caught.value.context["file"] == name


def test_an_ensemble_swapped_after_loading_is_noticed(folder: Path, key: SigningKey) -> None:
    bundle = load_bundle(folder, [key.trusted()])
    arrays = load_file(folder / "ensemble.safetensors")
    save_file({name: array + 1 for name, array in arrays.items()}, folder / "ensemble.safetensors")
    with pytest.raises(BundleAltered, match="ensemble"):
        bundle.load_ensemble()


def _json(name: str, edit: Callable[[dict], None]) -> Callable[[Path], None]:
    def spoil(folder: Path) -> None:
        plain = json.loads((folder / name).read_text())
        edit(plain)
        (folder / name).write_bytes(canonical_json(plain))

    return spoil


def _ensemble(edit: Callable[[dict], dict]) -> Callable[[Path], None]:
    def spoil(folder: Path) -> None:
        save_file(edit(load_file(folder / "ensemble.safetensors")), folder / "ensemble.safetensors")

    return spoil


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (_json("tumour.json", lambda plain: plain["weights"].pop()), "191 weights"),
        (_json("tumour.json", lambda plain: plain.update(threshold=1.0)), "out of range"),
        (_json("tumour.json", lambda plain: plain.update(limit=-0.1)), "out of range"),
        (_json("tumour.json", lambda plain: plain.update(auroc=1.1)), "AUROC"),
        (_json("tumour.json", lambda plain: plain.update(more=1)), "holds more"),
        (_json("tuning.json", lambda plain: plain["specimens"][0].update(label=2)), "contradict"),
        (_json("tuning.json", lambda plain: plain["specimens"][0].update(sd_logit=-1)), "contradict"),
        (_json("tuning.json", lambda plain: plain["specimens"][1].update(low_logit=3)), "contradict"),
        (_json("tuning.json", lambda plain: plain["specimens"][0].update(name="Anna")), "holds more"),
        (_json("tuning.json", lambda plain: plain["specimens"][0].pop("passed")), "holds no TuningRecord"),
        (_json("tuning.json", lambda plain: plain["patients"].update(tuning=["Clara"])), "tuning patients"),
        (_json("tuning.json", lambda plain: plain["patients"]["training"].reverse()), "training patients"),
        (_json("tuning.json", lambda plain: plain["patients"].update(tuning=[PATIENTS.training[0]])), "in the tuning"),
        (_json("tuning.json", lambda plain: plain["patients"].update(salt="")), "salt"),
        (_ensemble(lambda arrays: {f"1{name}": array for name, array in arrays.items()}), "not 0 to n - 1"),
        (_ensemble(lambda arrays: {}), r"\(none\)"),
        (lambda folder: (folder / "ensemble.safetensors").write_bytes(b"weights"), "no arrays"),
    ],
)
def test_a_signed_addition_that_cannot_be_used_is_refused(
    folder: Path, key: SigningKey, resign: Resign, spoil: Callable[[Path], None], said: str
) -> None:
    spoil(folder)
    resign(folder, key)
    with pytest.raises(ManifestInvalid, match=said) as caught:
        load_bundle(folder, [key.trusted()])
    assert caught.value.message.startswith(("tumour.json", "tuning.json", "ensemble.safetensors"))


def test_an_ensemble_of_other_heads_is_refused_when_it_is_loaded(folder: Path, key: SigningKey, resign: Resign) -> None:
    _ensemble(lambda arrays: {name: array[:1].clone() for name, array in arrays.items()})(folder)
    resign(folder, key)
    bundle = load_bundle(folder, [key.trusted()])
    with pytest.raises(HeadWeightsMismatch):
        bundle.load_ensemble()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda p: replace(p, tumour=tumour_head(5)), "5 weights, but the encoder gives 192"),
        (lambda p: replace(p, tumour=replace(tumour_head(192), bias=float("nan"))), "not finite"),
        (lambda p: replace(p, ensemble=(p.ensemble[0], {"trunk1.bias": p.head_state["trunk1.bias"]})), "head 1 of"),
        (lambda p: replace(p, tuning=(replace(TUNING[0], mean_logit=float("inf")),)), "not finite"),
        (lambda p: replace(p, patients=replace(PATIENTS, tuning=("Clara",))), "tuning patients"),
        (lambda p: replace(p, patients=replace(PATIENTS, salt="pepper")), "salt"),
    ],
)
def test_additions_that_do_not_belong_are_refused(
    tmp_path: Path, full: BundleParts, key: SigningKey, change: Callable[[BundleParts], BundleParts], said: str
) -> None:
    with pytest.raises(PartsInvalid, match=said):
        build_bundle(tmp_path / "bundle", change(full), key)
    assert list(tmp_path.iterdir()) == []
