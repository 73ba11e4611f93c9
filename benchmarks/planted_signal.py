"""What end-to-end training is worth: the same encoder from the same first weights, frozen and trained with its head.

Synthetic slides with a planted signal, split by patient. Three arms on the same slides: the small encoder frozen at its
first weights, the same trained end to end, and a frozen EfficientNet-Lite0 with ImageNet weights. Each with three
seeds; AUROC on patients that no arm has seen, with intervals over patients.

Run: python -m benchmarks.planted_signal [--seeds 3] [--training 60] [--test 60] [--epochs 12]
"""

import argparse
import json
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from pellucid.aggregators import GatedAttention, GatedAttentionConfig, load_head
from pellucid.cohort import SynthesisConfig, read_cohort, synthesise
from pellucid.domain.cohort import Cohort, Split
from pellucid.encoders import SMALL_SPEC, encoder_entry, read_published, small_spec, state_digest
from pellucid.statistics import auroc, patient_bootstrap
from pellucid.training import EndToEndTraining, HeadTraining, Mode, Precision, TrainingConfig
from pellucid.training.bags import EmbeddedScan, embed_scans
from pellucid.training.determinism import deterministic
from pellucid.training.fit import fit
from pellucid.training.head_loop import train_head
from pellucid.training.joint_task import JointTask
from pellucid.training.ranks import Ranks
from pellucid.training.run import opened_run
from pellucid.training.start_weights import first_encoder
from pellucid.training.stopping import StopFlag
from pellucid.training.survey import SurveyedScan, survey_scan


def main() -> None:
    options = _options()
    with tempfile.TemporaryDirectory() as folder, deterministic(2):
        place = Path(folder)
        cohort = _cohort(place, options)
        scans = {split: _survey(cohort, split) for split in (Split.TRAINING, Split.TEST)}
        print({split.value: len(found) for split, found in scans.items()})
        rows = []
        for seed in range(options.seeds):
            for arm in ("small, frozen", "small, end to end", "ImageNet, frozen"):
                began = time.perf_counter()
                logits = _arm(arm, scans, cohort, place, seed, options)
                rows.append((arm, seed, logits, time.perf_counter() - began))
                print(arm, seed, _figure([logits], scans[Split.TEST], seed), f"{rows[-1][3]:.0f} s", flush=True)
        for arm in dict.fromkeys(row[0] for row in rows):
            of_arm = [row[2] for row in rows if row[0] == arm]
            print(f"{arm}: {_figure(of_arm, scans[Split.TEST], 0)} (logits averaged over {len(of_arm)} seeds)")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--training", type=int, default=60)
    parser.add_argument("--test", type=int, default=60)
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--strength", type=float, default=0.8)
    return parser.parse_args()


def _cohort(place: Path, options: argparse.Namespace) -> Cohort:
    config = SynthesisConfig(
        seed=5,
        n_training=options.training,
        n_tuning=1,
        n_test=options.test,
        slide_px=1536,
        prevalence=0.5,
        strength_mean=options.strength,
        strength_sd=0.35,
        p_fine=0.0,
    )
    return read_cohort(synthesise(place / "cohort", config))


def _survey(cohort: Cohort, split: Split) -> list[SurveyedScan]:
    found = []
    for entry in cohort.in_split(split):
        try:
            found.append(survey_scan(entry, SMALL_SPEC))
        except Exception as error:  # noqa: BLE001 - a benchmark's slides that are unfit are left out of every arm
            print("left out:", entry.slide, error)
    return found


def _arm(
    arm: str,
    scans: dict[Split, list[SurveyedScan]],
    cohort: Cohort,
    place: Path,
    seed: int,
    options: argparse.Namespace,
) -> list[float]:
    """The logit of each test scan."""
    config = TrainingConfig(
        mode=Mode.END_TO_END,
        seed=seed,
        head=HeadTraining(epochs=30),
        end_to_end=EndToEndTraining(
            encoder="pellucid-small",
            tiles_per_slide=48,
            chunk=16,
            epochs=options.epochs,
            share=1.0,
            learning_rate=1e-3,
            final_learning_rate=1e-5,
            head_factor=0.3,
            warm_up_epochs=1,
            weight_decay=0.01,
            final_weight_decay=0.01,
            precision=Precision.FLOAT32,
            activation_checkpointing=False,
            validation=0.0,
        ),
    )
    if arm == "small, end to end":
        return _end_to_end(scans, cohort, place / f"run-{seed}", config)
    if arm == "ImageNet, frozen":
        spec, state = read_published(encoder_entry("efficientnet-lite0"))
    else:
        network = first_encoder(config.end_to_end, seed, scans[Split.TRAINING])
        state = {name: value.detach().clone() for name, value in network.state_dict().items()}
        spec = small_spec(state_digest(state))
    bags = {split: _embed(found, spec, state, config) for split, found in scans.items()}
    head_config = GatedAttentionConfig(input_dim=spec.dim)
    head_state, _ = train_head(bags[Split.TRAINING], head_config, config, _silent)
    return _score(load_head(head_config, head_state), bags[Split.TEST])


def _end_to_end(
    scans: dict[Split, list[SurveyedScan]], cohort: Cohort, folder: Path, config: TrainingConfig
) -> list[float]:
    training = scans[Split.TRAINING]
    with opened_run(folder, cohort, config, Ranks(), report=_silent, stop=StopFlag()) as run:
        encoder = first_encoder(config.end_to_end, config.seed, training)
        task = JointTask(training, [], encoder, SMALL_SPEC, config, folder=folder, ranks=run.ranks, journal=run.journal)
        fit(task, run)
        state, head_state = task.states()
    spec = replace(SMALL_SPEC, weights_digest=state_digest(state))
    return _score(load_head(task.head_config, head_state), _embed(scans[Split.TEST], spec, state, config))


def _embed(scans: Sequence[SurveyedScan], spec: object, state: object, config: TrainingConfig) -> list[EmbeddedScan]:
    bags, left_out = embed_scans(scans, spec, state, config, _silent)  # type: ignore[arg-type]
    assert not left_out, left_out
    return bags


def _score(head: GatedAttention, bags: Sequence[EmbeddedScan]) -> list[float]:
    import torch

    return [float(head(torch.from_numpy(item.bag.features.astype(np.float32))).logit) for item in bags]


def _figure(logits: Sequence[Sequence[float]], scans: Sequence[SurveyedScan], seed: int) -> str:
    found = patient_bootstrap(
        auroc,
        np.mean(logits, axis=0).tolist(),
        [scan.label for scan in scans],
        [scan.entry.patient for scan in scans],
        seed=seed,
    )
    return json.dumps({"auroc": round(found.estimate, 3), "low": round(found.low, 3), "high": round(found.high, 3)})


def _silent(stage: str, done: int, total: int) -> None:
    pass


if __name__ == "__main__":
    main()
