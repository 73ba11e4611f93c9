"""`pellucid encoder`, and bags made with a published encoder, as real commands."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision import transforms
from typer.testing import CliRunner

from pellucid.cli import bag
from pellucid.cli.encoder import app
from pellucid.cohort import SynthesisConfig, synthesise
from pellucid.core.errors import PellucidError
from pellucid.core.seeds import generator
from pellucid.encoders import (
    EncoderUnknown,
    GoldenTileMismatch,
    GoldenTileUnreadable,
    RevisionUnpinned,
    SpecUnusable,
    WeightsMissing,
    encoder_entry,
    load_published,
    read_bag,
)
from pellucid.pipeline.models import EncoderAlone
from pellucid.slides import open_slide


def pellucid(*words: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "pellucid", *map(str, words)], capture_output=True, text=True)


def test_list_tells_facts_and_terms_of_every_encoder() -> None:
    done = pellucid("encoder", "list", "--json")
    assert done.returncode == 0, done.stderr
    rows = {row["id"]: row for row in json.loads(done.stdout)}
    giga = rows["gigapath"]
    assert (giga["dim"], giga["tile_px"], giga["input_px"], giga["mpp"]) == (1536, 256, 224, 0.5)
    assert (giga["licence"], giga["gated"], giga["digest"]) == ("Apache-2.0", True, "unknown")
    assert giga["here"] == "yes, with its weights: --weights"
    assert rows["efficientnet-lite0"]["here"] == "yes"
    assert len(rows["efficientnet-lite0"]["digest"]) == 64
    assert rows["phikon-v2"]["here"].startswith("no: its file has the layout")


def test_list_is_readable_and_says_whose_the_terms_are() -> None:
    done = pellucid("encoder", "list")
    assert done.returncode == 0
    assert "research only; its publisher puts any deployed or clinical use out of scope" in done.stdout
    assert "Research use only." in done.stdout


@pytest.mark.parametrize("words", [["encoder", "list"], ["encoder", "--help"], ["encoder", "check", "--help"]])
def test_looking_imports_nothing_heavy(words: list[str]) -> None:
    code = (
        "import sys\nfrom pellucid.cli.main import app\n"
        f"try: app({words!r}, standalone_mode=False)\nexcept SystemExit: pass\n"
        "print([name for name in ('torch', 'timm', 'torchvision', 'huggingface_hub', 'cv2') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_check_loads_and_tells_what_it_found() -> None:
    done = pellucid("encoder", "check", "efficientnet-lite0", "--device", "cpu", "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["weights_digest"] == encoder_entry("efficientnet-lite0").spec.weights_digest
    assert found["digest_is"] == "the registered one"
    assert (found["parameters"], found["dim"], found["device"]) == (3_371_008, 1280, "cpu")
    assert found["seconds_a_tile"] > 0
    assert found["golden_tile"] == "not checked: give --golden"


@pytest.fixture
def golden(tmp_path: Path) -> Path:
    """A picture with the embedding that torchvision's own transform and the bare network give it."""
    pixels = np.repeat(np.repeat(generator("g").integers(0, 256, (16, 16, 3), dtype=np.uint8), 8, 0), 8, 1)
    Image.fromarray(pixels).save(tmp_path / "tile.png")
    encoder = load_published(encoder_entry("efficientnet-lite0"), batch_size=1)
    official = transforms.Compose(
        [
            transforms.Resize(224, interpolation=transforms.InterpolationMode.BICUBIC),
            transforms.ToTensor(),
            transforms.Normalize(encoder.spec.mean, encoder.spec.std),
        ]
    )
    with torch.inference_mode():
        embedding = encoder._network(official(Image.open(tmp_path / "tile.png"))[None])[0]
    torch.save(embedding, tmp_path / "tile.pt")
    return tmp_path


def test_check_runs_the_golden_tiles_of_a_folder(golden: Path) -> None:
    words = ["check", "efficientnet-lite0", "--golden", str(golden), "--device", "cpu"]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 0, done.output
    assert "agrees: largest difference" in done.stdout
    torch.save(torch.load(golden / "tile.pt") + 0.02, golden / "tile.pt")
    assert isinstance(CliRunner().invoke(app, words).exception, GoldenTileMismatch)


def test_check_names_the_first_key_that_differs(tmp_path: Path) -> None:
    torch.save({"conv1.weight": torch.zeros(2)}, tmp_path / "pytorch_model.bin")
    done = pellucid("encoder", "check", "gigapath", "--weights", tmp_path)
    assert done.returncode == 1
    assert done.stderr.startswith("PEL-MODEL-002")
    assert "'blocks.0.attn.proj.bias': it is missing" in done.stderr


@pytest.mark.parametrize(
    ("words", "error"),
    [
        (["check", "gigapat"], EncoderUnknown),
        (["check", "gigapath"], WeightsMissing),
        (["check", "phikon-v2"], SpecUnusable),
        (["check", "efficientnet-lite0", "--golden", "nowhere"], GoldenTileUnreadable),
        (["check", "efficientnet-lite0", "--precision", "float16"], SpecUnusable),
        (["fetch", "gigapath", "--out", "there"], RevisionUnpinned),
    ],
)
def test_what_cannot_be_done_is_a_coded_sentence_with_a_remedy(words: list[str], error: type[PellucidError]) -> None:
    raised = CliRunner().invoke(app, words).exception
    assert isinstance(raised, error)
    assert raised.remedy.endswith(".")


def test_without_the_extra_the_remedy_names_it() -> None:
    """An installation without timm, as Python sees one: the import fails."""
    code = (
        "import sys; sys.modules['timm'] = None\n"
        "sys.argv = ['pellucid', 'encoder', 'check', 'efficientnet-lite0']\n"
        "from pellucid.cli.main import main; main()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr.startswith("PEL-MODEL-012")
    assert "pip install 'pellucid[foundation]'" in done.stderr


BAG = ("--encoder", "efficientnet-lite0", "--batch", "4", "--device", "cpu")


@pytest.fixture(scope="module")
def slide(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A drawn slide with tissue on 16 tiles."""
    folder = tmp_path_factory.mktemp("cohort") / "cohort"
    config = SynthesisConfig(seed=3, n_training=0, n_tuning=0, n_test=1, special=(), slide_px=1280, p_fine=0.0)
    synthesise(folder, config)
    return next((folder / "slides").iterdir())


@pytest.fixture(scope="module")
def bags(slide: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the command made of it with an encoder and no bundle."""
    out = tmp_path_factory.mktemp("bags")
    done = pellucid("bag", "make", slide, *BAG, "--out", out, "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["scored"] == 1
    return out


def test_a_bag_of_a_published_encoder_holds_its_features_and_names_it(slide: Path, bags: Path) -> None:
    made = read_bag(next((bags / "bags").iterdir()))
    assert made.features.shape == (16, 1280)
    encoder = load_published(encoder_entry("efficientnet-lite0"), batch_size=4)
    assert made.provenance["spec"] == encoder.spec.digest
    with open_slide(slide) as opened:
        x, y = (int(value) for value in made.coords[5])
        region = opened.read_region(x, y, 224, 224)
    # the engine's encoder has another number of threads, which decides the last bits
    np.testing.assert_allclose(encoder.encode(region[None])[0], made.features[5], rtol=5e-3, atol=5e-3)


def test_the_same_command_again_finds_it_done(slide: Path, bags: Path) -> None:
    again = json.loads(pellucid("bag", "make", slide, *BAG, "--out", bags, "--json").stdout)
    assert (again["scored"], again["known"]) == (0, 1)


def test_another_precision_is_another_encoder_with_bags_of_its_own(tmp_path: Path) -> None:
    spec = encoder_entry("efficientnet-lite0").spec
    alone = EncoderAlone(spec=spec, weights=tmp_path / "w", weights_bytes=1)
    assert alone.digest != replace(alone, spec=replace(spec, precision="bfloat16")).digest
    assert alone.digest == replace(alone, weights=tmp_path / "elsewhere").digest


@pytest.mark.parametrize(
    "words",
    [
        ["bag", "make", "a.svs"],
        ["bag", "make", "a.svs", "--bundle", "b", "--encoder", "gigapath"],
        ["bag", "make", "a.svs", "--bundle", "b", "--weights", "w"],
    ],
)
def test_a_bundle_or_an_encoder_is_named_and_not_both(words: list[str]) -> None:
    assert CliRunner().invoke(bag.app, words[1:]).exit_code == 2


def test_a_device_that_is_not_here_ends_the_run_with_its_reason(slide: Path, tmp_path: Path) -> None:
    if torch.cuda.is_available():
        pytest.skip("this machine has an accelerator")
    words = ("bag", "make", slide, "--encoder", "efficientnet-lite0", "--device", "cuda", "--out", tmp_path)
    done = pellucid(*words)
    assert done.returncode == 1
    assert "PEL-MODEL-018" in done.stderr
