"""From a cohort to a signed model bundle, by way of a run folder that a killed training goes on in."""

import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from pellucid._version import __version__
from pellucid.bundle import BundleExists, BundleParts, GoldenChecks, SigningKey, build_bundle, record_golden
from pellucid.core.digests import canonical_json
from pellucid.core.files import write_bytes, write_json
from pellucid.core.serial import to_plain
from pellucid.core.software import software_digest
from pellucid.domain.cohort import Cohort
from pellucid.encoders import half_features, load_encoder
from pellucid.training.bags import EmbeddedScan
from pellucid.training.calibrate import answer_scans, calibrate, describe_reference
from pellucid.training.card import Findings, findings_as_plain, measure, split_size, write_card
from pellucid.training.config import Mode, TrainingConfig
from pellucid.training.determinism import deterministic
from pellucid.training.end_to_end import learn_end_to_end
from pellucid.training.errors import EncoderNeeded
from pellucid.training.fit import fit
from pellucid.training.from_bags import learn_from_bags
from pellucid.training.golden import golden_tiles
from pellucid.training.head_loop import HeadTask, ensemble_tasks
from pellucid.training.journal import Telling
from pellucid.training.learnt import Learnt
from pellucid.training.ranks import Ranks
from pellucid.training.run import TrainingRun, opened_run
from pellucid.training.scans import Progress
from pellucid.training.small import learn_small
from pellucid.training.stopping import StopFlag
from pellucid.training.stored_bag import where_placed
from pellucid.training.survey import check_cohort
from pellucid.training.truth import truth_of
from pellucid.training.tumour import fit_tumour_head
from pellucid.training.tuning import Gating, digest_patients, tuning_specimens

BUNDLE_FOLDER = "bundle"
HISTORY = "training.json"
_THREADS = 2


def train_bundle(
    cohort: Cohort,
    folder: Path,
    *,
    key: SigningKey,
    config: TrainingConfig | None = None,
    progress: Progress | None = None,
    ranks: Ranks | None = None,
    stop: StopFlag | None = None,
    telling: Telling | None = None,
    force: bool = False,
    command: str = "",
) -> Path:
    """Train on a cohort's training split, calibrate on its tuning split, and sign the bundle.

    Called again with the same folder after a kill, it goes on from its newest verified checkpoint. The same cohort and
    configuration give the same weights and numbers on the same machine, disturbed or not; the salt of the patients'
    digests is drawn anew each time.

    Args:
        cohort: its training and tuning splits are used, no other.
        folder: the run folder: checkpoints, journal, in the end `bundle/` and the record of the training in
            `training.json`: losses, figures, configuration, and every scan that was left out with its reason.
        key: signs the bundle.
        config: the settings; the defaults where omitted.
        progress: called with (stage, done, total).
        ranks: the processes that train together; alone where omitted.
        stop: looked at between steps and scans.
        telling: shows the training's journal to a person.
        force: go on with checkpoints of another configuration, software or cohort; recorded.
        command: how it was started, for the record.

    Returns:
        The bundle's folder, which the first rank writes.

    Raises:
        BundleExists: the folder holds a bundle already.
        RunFolderTaken, RunLocked: the folder is something else's, or another process writes to it.
        CohortUntrainable: the table lacks what a training needs; all of it is listed.
        SlidesUnusable: too many slides can't be used.
        CheckpointForeign: checkpoints are there, but of another configuration, software or cohort.
        TrainingDiverged: a loss is NaN or infinite.
        TrainingInterrupted: it was asked to stop.
        CalibrationImpossible: the tuning split is too small, or the model learnt nothing.
        StorageFull: the disk is full.
    """
    config = config or TrainingConfig()
    target = folder / BUNDLE_FOLDER
    if target.exists():
        raise BundleExists(f"{target} exists.")
    check_cohort(cohort)
    ranks = ranks or Ranks()
    with (
        deterministic(_THREADS),
        opened_run(
            folder,
            cohort,
            config,
            ranks,
            report=progress or _silent,
            stop=stop or StopFlag(),
            telling=telling,
            force=force,
            command=command,
        ) as run,
    ):
        learnt = _LEARN[config.mode](cohort, run)
        if ranks.is_first:
            _finish(cohort, learnt, target, key, run)
        run.journal.finished()
    return target


_LEARN: Mapping[Mode, Callable[[Cohort, TrainingRun], Learnt]] = {
    Mode.SMALL: learn_small,
    Mode.BAGS: learn_from_bags,
    Mode.END_TO_END: learn_end_to_end,
}


def _finish(cohort: Cohort, learnt: Learnt, target: Path, key: SigningKey, run: TrainingRun) -> None:
    """Train the other heads, calibrate, and build the bundle."""
    config, spec = run.config, learnt.spec
    alike = replace(config, head=learnt.head_training or config.head)
    members = ensemble_tasks(learnt.training, learnt.head_config, alike)
    for member in members:
        fit(member, run.alone().with_data(learnt.digest))
    findings = _calibrate(cohort, learnt, run)
    record = {
        "model_digest": learnt.digest,
        "config": to_plain(config),
        **learnt.record,
        **findings_as_plain(findings),
    }
    write_json(target.parent / HISTORY, record)
    if learnt.encoder_state is None:
        _keep_heads(learnt, members, target.parent)
        raise EncoderNeeded(f"The head of {config.name} is trained, but {spec.id}'s weights are not at hand.")
    parts = BundleParts(
        name=config.name,
        synthetic=cohort.synthetic,
        spec=spec,
        encoder_state=learnt.encoder_state,
        head_config=learnt.head_config,
        head_state=learnt.head_state,
        calibration=findings.calibration,
        reference=findings.reference,
        golden=_golden(learnt, config),
        model_card=write_card(cohort, spec, findings, config),
        software_version=__version__,
        licence=spec.licence,
        provenance=_provenance(cohort, config),
        ensemble=[member.state() for member in members],
        tumour=findings.tumour,
        patients=digest_patients(cohort),
        tuning=findings.specimens,
    )
    for left in target.parent.glob(f".{target.name}.*.part"):
        # of a start that was killed while it built
        shutil.rmtree(left, ignore_errors=True)
    build_bundle(target, parts, key)


def _calibrate(cohort: Cohort, learnt: Learnt, run: TrainingRun) -> Findings:
    config, progress, training, tuning = run.config, run.scans_progress, learnt.training, learnt.tuning
    head, digest = learnt.head(), learnt.digest
    reference_answers = answer_scans(training, head, model=digest, config=config, stage="reference", progress=progress)
    answers = answer_scans(tuning, head, model=digest, config=config, stage="calibration", progress=progress)
    calibration, tuned = calibrate(answers, config)
    reference = describe_reference(reference_answers, answers, tuned, calibration, config)
    tumour = fit_tumour_head(training, tuning, where_placed(truth_of(cohort)))
    gating = Gating(
        calibration=calibration,
        reference=reference,
        tumour=tumour,
        synthetic=cohort.synthetic,
        expected=cohort.n_expected(),
    )
    return Findings(
        training=split_size([_counted(item) for item in training]),
        tuning=split_size([_counted(item) for item in tuning]),
        figures=measure(tuned, config),
        calibration=calibration,
        reference=reference,
        tumour=tumour,
        specimens=tuning_specimens(answers, tuned, gating),
        left_out=tuple(learnt.left_out),
    )


def _counted(item: EmbeddedScan) -> tuple[str, str, int]:
    return item.scan.entry.patient, item.scan.entry.specimen, item.scan.label


def _golden(learnt: Learnt, config: TrainingConfig) -> GoldenChecks:
    assert learnt.encoder_state is not None
    encoder = load_encoder(learnt.spec, learnt.encoder_state)
    pixels = golden_tiles(learnt.spec)
    return record_golden(
        encoder,
        learnt.head(),
        model=learnt.digest,
        pixels=pixels,
        features=half_features(encoder.encode(pixels)),
        n_passes=config.n_passes,
    )


def _provenance(cohort: Cohort, config: TrainingConfig) -> dict[str, str]:
    return {
        "cohort": cohort.name,
        "cohort_digest": cohort.digest,
        "config": canonical_json(to_plain(config)).decode(),
        "software": software_digest(),
    }


def _keep_heads(learnt: Learnt, members: Sequence[HeadTask], folder: Path) -> None:
    """Write the heads beside the record, for whoever has the encoder."""
    from safetensors.torch import save

    states = {"head": dict(learnt.head_state)} | {member.name: member.state() for member in members}
    for name, state in states.items():
        write_bytes(folder / "heads" / f"{name}.safetensors", save(state))


def _silent(stage: str, done: int, total: int) -> None:
    pass
