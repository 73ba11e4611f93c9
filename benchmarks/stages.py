"""From file to answer: seconds by stage and peak memory at 1x, 4x and 16x the pixels.

Each size runs in a process of its own under a bundle with random weights of the demo's shape. Memory is resident
memory before the slide is opened, and its peak from then on.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np

SIDES = {"1x": 6144, "4x": 12288, "16x": 24576}


def make_bundle(folder):
    from pellucid.aggregators import GatedAttention, GatedAttentionConfig, load_head
    from pellucid.bundle import BundleParts, Calibration, SigningKey, build_bundle, record_golden
    from pellucid.domain.reference import ReferenceProfile
    from pellucid.encoders import SmallEncoder, load_encoder, small_spec, state_digest
    from pellucid.uncertainty import model_digest

    key = SigningKey.generate()
    key.save(folder / "key.pem")
    encoder_state = SmallEncoder().state_dict()
    spec = small_spec(state_digest(encoder_state))
    config = GatedAttentionConfig(input_dim=spec.dim, trunk_dim=128, gate_dim=96)
    head_state = GatedAttention(config, seed=1).state_dict()
    golden = record_golden(
        load_encoder(spec, encoder_state),
        load_head(config, head_state),
        model=model_digest(spec, config, state_digest(head_state)),
        pixels=np.full((1, 224, 224, 3), 200, np.uint8),
        features=np.zeros((4, spec.dim), np.float16),
    )
    parts = BundleParts(
        name="benchmark",
        synthetic=True,
        spec=spec,
        encoder_state=encoder_state,
        head_config=config,
        head_state=head_state,
        calibration=Calibration(temperature=1.0, n_specimens=2, n_positive=1, nll_before=1.0, nll_after=1.0),
        reference=ReferenceProfile(
            mean=(0.0,) * config.trunk_dim,
            components=((1.0,) + (0.0,) * (config.trunk_dim - 1),),
            residual_scale=1.0,
            distance_limit=1.0,
            sd_limit=1.0,
            features={},
            n_specimens=2,
        ),
        golden=golden,
        model_card="# Benchmark\n",
        software_version="0",
        licence="Apache-2.0",
    )
    return build_bundle(folder / "bundle", replace(parts), key)


def answer(bundle_folder, slide):
    """In a process of its own: seconds by stage, tiles, and the peak of resident memory in MiB."""
    from pellucid.bundle import load_bundle, load_trusted_keys
    from pellucid.pipeline.scan import Stopwatch, score
    from pellucid.slides import identify

    bundle = load_bundle(bundle_folder, load_trusted_keys([bundle_folder.parent]))
    bundle.check_golden()
    watch = Stopwatch()
    loaded = resident("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # forgets the peak of loading torch
    with watch.stage("identify"):
        identify(slide)
    tiles = score(slide, bundle, watch=watch).n_tiles
    print(json.dumps({"seconds": watch.seconds, "tiles": tiles, "loaded": loaded, "peak": resident("VmHWM")}))


def resident(what):
    """Resident memory in MiB, of now (VmRSS) or at its peak (VmHWM)."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(what))
    return int(line.split()[1]) / 1024


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--json", type=Path)
    parser.add_argument("--answer", nargs=2)
    options = parser.parse_args()
    if options.answer:
        bundle, slide = options.answer
        return answer(Path(bundle), Path(slide))
    rows = {}
    with tempfile.TemporaryDirectory() as name:
        from pellucid.cohort import write_large_slide

        folder = Path(name)
        bundle = make_bundle(folder)
        slides = {}
        for size, side in SIDES.items():
            slides[size] = (
                write_large_slide(folder / f"{size}.svs", side, side, seed=0, mpp=0.5) or folder / f"{size}.svs"
            )
        for size, slide in slides.items():
            command = [sys.executable, "-m", "benchmarks.stages", "--answer", str(bundle), str(slide)]
            rows[size] = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    stages = ["identify", "open", "tissue", "quality", "read", "encode", "passes", "artefacts"]
    print(f"| pixels | tiles | {' | '.join(f'{stage}, s' for stage in stages)} | all, s | before, MiB | peak, MiB |")
    print("|" + "---|" * (len(stages) + 5))
    for size, row in rows.items():
        seconds = [row["seconds"].get(stage, 0.0) for stage in stages]
        cells = " | ".join(f"{value:.2f}" for value in seconds)
        print(f"| {size} | {row['tiles']} | {cells} | {sum(seconds):.2f} | {row['loaded']:.0f} | {row['peak']:.0f} |")
    if options.json:
        options.json.write_text(json.dumps(rows, indent=2))
    return None


if __name__ == "__main__":
    main()
