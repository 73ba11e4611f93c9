"""What chaos and soak share: a tiny bundle, scans good and bad, a run as a process of its own, what it recorded."""

import contextlib
import json
import os
import shutil
import subprocess
import sys
from collections import Counter
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import numpy as np

from pellucid.cohort import ScanKind, SynthesisConfig, synthesise
from pellucid.cohort.synthetic.large import write_large_slide
from pellucid.records import open_records

MARK = "TRIAL_OF"
"""Environment variable that names a trial's folder: all processes of its runs have it, and no others do."""

BAD = (ScanKind.SCALE_MISSING, ScanKind.CORRUPT_TILES, ScanKind.TRUNCATED, ScanKind.NEARLY_EMPTY)


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSpec:
    """One start of a run: what `python -m benchmarks._one_run` is told. `options` are `RunOptions`' by name."""

    scans: Path
    bundle: Path
    key: Path
    out: Path
    database: str | None = None
    options: dict = field(default_factory=dict)
    device_stall_s: float = 600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """What a database holds of a run, by task key; `problems` are what a sound one has none of."""

    states: dict[str, str]
    logits: dict[str, tuple[float, ...]]
    problems: tuple[str, ...]
    n_tiles: int


def make_bundle(folder, *, batch_size=4):
    """A signed bundle with random weights, and the file of the key that signed it."""
    import torch

    from pellucid.aggregators import GatedAttention, GatedAttentionConfig, load_head
    from pellucid.bundle import BundleParts, Calibration, SigningKey, build_bundle, record_golden
    from pellucid.core.seeds import generator
    from pellucid.domain.reference import ReferenceProfile
    from pellucid.encoders import SmallEncoder, load_encoder, small_spec, state_digest
    from pellucid.uncertainty import model_digest

    torch.manual_seed(0)
    encoder_state = SmallEncoder().state_dict()
    spec = replace(small_spec(state_digest(encoder_state)), batch_size=batch_size)
    config = GatedAttentionConfig(input_dim=spec.dim, trunk_dim=16, gate_dim=8)
    head_state = GatedAttention(config, seed=1).state_dict()
    draw = generator("golden")
    golden = record_golden(
        load_encoder(spec, encoder_state),
        load_head(config, head_state),
        model=model_digest(spec, config, state_digest(head_state)),
        pixels=draw.integers(0, 256, (2, 224, 224, 3), dtype=np.uint8),
        features=draw.normal(size=(20, spec.dim)).astype(np.float16),
        n_passes=10,
    )
    parts = BundleParts(
        name="trial",
        synthetic=True,
        spec=spec,
        encoder_state=encoder_state,
        head_config=config,
        head_state=head_state,
        calibration=Calibration(
            temperature=1.7, n_passes=10, n_specimens=40, n_positive=17, nll_before=0.71, nll_after=0.64
        ),
        reference=ReferenceProfile(
            mean=(0.0,) * 16,
            components=((0.5,) + (0.0,) * 15, (0.0, 2.0) + (0.0,) * 14),
            residual_scale=1.25,
            distance_limit=4.5,
            sd_limit=0.8,
            features={"stain_h": (0.1, 0.2, 0.4)},
            n_specimens=40,
        ),
        golden=golden,
        model_card="# Trial\n\nRandom weights.\n",
        software_version="0.1.0",
        licence="Apache-2.0",
        provenance={"cohort": "ab" * 32},
    )
    key = SigningKey.generate()
    key.save(folder / "key.pem")
    return build_bundle(folder / "bundle", parts, key), folder / "key.pem.pub"


def make_large_scans(folder, number, *, side, seed):
    """So many good scans of three drawn ones, and six bad ones among them."""
    drawn = folder.parent / "drawn"
    drawn.mkdir(parents=True)
    good = [write_large_slide(drawn / f"{nth}.svs", side, side, seed=seed + nth, mpp=0.5) for nth in range(3)]
    _fill(folder, good, number, _bad_files(drawn, seed), 5)


def make_small_scans(folder, number, *, seed, side=1024):
    """So many small scans, every tenth of them bad in one of several ways."""
    drawn = folder.parent / "drawn"
    drawn.mkdir(parents=True)
    config = SynthesisConfig(
        seed=seed, n_training=0, n_tuning=0, n_test=6, special=(), slide_px=side, p_fine=0.0, p_second_scan=0.0
    )
    synthesise(drawn / "good", config, workers=1)
    n_bad = number // 10
    _fill(folder, sorted((drawn / "good" / "slides").iterdir()), number - n_bad, _bad_files(drawn, seed), n_bad - 1)


def _bad_files(drawn, seed):
    config = SynthesisConfig(
        seed=seed,
        n_training=0,
        n_tuning=0,
        n_test=0,
        special=tuple((kind, 1) for kind in BAD),
        slide_px=1024,
        p_fine=0.0,
        p_second_scan=0.0,
    )
    synthesise(drawn / "bad", config, workers=1)
    text = drawn / "text.svs"
    text.write_text("This is no slide.\n")
    return [*sorted((drawn / "bad" / "slides").iterdir()), text]


def _fill(folder, good, n_good, bad, n_bad):
    """So many good and bad files, spread evenly, and an empty one: copies with bytes appended that no reader looks at.

    What is appended makes each copy a scan of its own.
    """
    folder.mkdir(parents=True)
    (folder / "empty.svs").touch()
    total, n_placed = n_good + n_bad, 0
    for nth in range(total):
        is_bad = n_placed < n_bad * (nth + 1) // total
        source = bad[n_placed % len(bad)] if is_bad else good[(nth - n_placed) % len(good)]
        n_placed += is_bad
        target = folder / f"{nth:05d}{source.suffix}"
        shutil.copyfile(source, target)
        with target.open("ab") as file:
            file.write(f"\n{nth}\n".encode())


def start(spec, trial):
    """Start a run as the leader of its own session, with its words in `out/said.txt`."""
    spec.out.mkdir(parents=True, exist_ok=True)
    told = spec.out / "told.json"
    told.write_text(json.dumps(asdict(spec), default=str))
    environment = os.environ | {"OMP_NUM_THREADS": "1", MARK: str(trial)}
    with (spec.out / "said.txt").open("ab") as said:
        return subprocess.Popen(
            [sys.executable, "-m", "benchmarks._one_run", str(told)],
            cwd=Path(__file__).parents[1],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=said,
            start_new_session=True,
        )


def processes_of(trial):
    """Process numbers of all processes that a trial's runs started and that live, zombies left out."""
    mark = f"{MARK}={trial}".encode()
    found = []
    for folder in Path("/proc").iterdir():
        if not folder.name.isdecimal():
            continue
        try:
            environment = (folder / "environ").read_bytes()
            state = (folder / "stat").read_text(errors="replace").rpartition(")")[2].split()[0]
        except OSError:
            continue
        if mark in environment.split(b"\0") and state not in {"Z", "X"}:
            found.append(int(folder.name))
    return found


def segments():
    """Names of the shared memory that exists, without what database servers keep."""
    return {path.name for path in Path("/dev/shm").iterdir() if not path.name.startswith("PostgreSQL.")}


def _is_mapped(name):
    """Whether a process has the shared memory mapped: it is then another program's, which lives."""
    wanted = f"/dev/shm/{name}"
    for maps in Path("/proc").glob("[0-9]*/maps"):
        with contextlib.suppress(OSError):
            if wanted in maps.read_text(errors="replace"):
                return True
    return False


def left_behind(trial, out, segments_before):
    """Processes, descriptors and shared memory that a run that ended should have taken with it."""
    found = [f"process {pid} is left" for pid in processes_of(trial)]
    found += [f"shared memory {name} is left" for name in sorted(segments() - segments_before) if not _is_mapped(name)]
    descriptors = json.loads((out / "descriptors.json").read_text())
    new = Counter(descriptors["after"]) - Counter(descriptors["before"])
    found += [f"descriptor of {name} is left" for name in new if not name.endswith("/run.jsonl")]
    return found


def files_left(out):
    """Files of work under way that outlived it."""
    found = [*out.rglob("*.part"), *(out / "checkpoints").glob("*")]
    return [str(path.relative_to(out)) for path in sorted(found)]


def read_records(address):
    """What is recorded, and all that is wrong with it."""
    with open_records(address, create=False) as records:
        tasks = records.tasks()
        states = {task.key: str(task.state) for task in tasks}
        results = records.scan_results()
        audit = records.verify_audit()
        ends = Counter(
            event.content["details"]["task"]
            for event in records.audit_events()
            if event.content["action"] in {"predict", "predict.fail"}
        )
    per_key = Counter(result.task_key for result in results)
    problems = [f"{n} results of {key[:12]}" for key, n in per_key.items() if n > 1]
    # A file without an identity, here an empty one, is looked at anew by each start.
    nameless = {task.key for task in tasks if task.scan_digest is None and ends[task.key]}
    once = states.keys() - nameless
    problems += [f"{ends[key]} ends in the audit trail of {key[:12]}" for key in once if ends[key] != 1]
    problems += [f"{state} task {key[:12]}" for key, state in states.items() if state not in {"done", "failed"}]
    problems += [f"done without result: {key[:12]}" for key, s in states.items() if s == "done" and not per_key[key]]
    problems += [f"audit: {problem.detail}" for problem in audit.problems]
    return Recorded(
        states=states,
        logits={result.task_key: result.logits for result in results},
        problems=tuple(problems),
        n_tiles=sum(result.n_tiles for result in results),
    )
