"""`mode = "end_to_end"`: encoder and head together from the slides' labels, shared between all ranks."""

from dataclasses import replace

from torch import Tensor

from pellucid.core.digests import digest_json
from pellucid.core.seeds import derive_seed
from pellucid.domain.cohort import Cohort
from pellucid.domain.encoder import EncoderSpec
from pellucid.encoders import state_digest
from pellucid.training.bags import EmbeddedScan, embed_scans
from pellucid.training.config import EndToEndTraining, Precision
from pellucid.training.errors import TrainingConfigInvalid
from pellucid.training.fit import fit
from pellucid.training.joint_task import JointTask
from pellucid.training.learnt import Learnt, by_split
from pellucid.training.run import TrainingRun
from pellucid.training.scans import ScanLeftOut
from pellucid.training.small import BAGS, survey_of
from pellucid.training.start_weights import first_encoder, spec_of
from pellucid.training.survey import Survey, SurveyedScan, require_enough


def learn_end_to_end(cohort: Cohort, run: TrainingRun) -> Learnt:
    """Train encoder and head on the training slides, then embed every scan with the trained encoder.

    Raises:
        CohortUntrainable, SlidesUnusable: the cohort, or what is left of it, can't be learnt from.
        TrainingConfigInvalid: the best epoch is wanted, and the held-out patients can't tell which it is.
        EncoderUnknown, WeightsMissing, WeightsUnreadable, WeightsUnfit: the encoder can't be had.
        TrainingDiverged, TrainingInterrupted: see `fit`.
    """
    config, settings = run.config, run.config.end_to_end
    spec = spec_of(settings)
    surveyed = run.ranks.once(lambda: survey_of(run, cohort, spec))
    scans, held_out = hold_out(surveyed.training, settings.validation, config.seed)
    _require_watchable(settings, held_out)
    encoder = run.ranks.agreed(lambda: first_encoder(settings, config.seed, scans))
    task = JointTask(scans, held_out, encoder, spec, config, folder=run.folder, ranks=run.ranks, journal=run.journal)
    # a slide that went away since the first start would change every draw: that is another training
    fit(task, run.with_data(digest_json([scan.digest for scan in (*scans, *held_out)])))
    encoder_state, head_state = task.states()
    losses, head_config = task.losses.means(), task.head_config
    del task, encoder
    tuned = replace(
        spec,
        weights_digest=state_digest(encoder_state),
        precision=_answering(settings.precision),
    )
    embedded, unembedded = _embed(surveyed, tuned, encoder_state, run)
    left_out = [*surveyed.left_out, *unembedded]
    if run.ranks.is_first:
        require_enough([item.scan for item in embedded], left_out, config)
    training, tuning = by_split(embedded, surveyed.training)
    return Learnt(
        spec=tuned,
        encoder_state=encoder_state,
        head_config=head_config,
        head_state=head_state,
        training=training,
        tuning=tuning,
        left_out=left_out,
        record={
            "losses": {"joint": losses},
            "held_out_patients": len({scan.entry.patient for scan in held_out}),
            "first_weights": None if settings.weights is None else settings.weights.name,
        },
    )


def hold_out(scans: tuple[SurveyedScan, ...], share: float, seed: int) -> tuple[list[SurveyedScan], list[SurveyedScan]]:
    """Set aside the scans of a share of the patients of each label, by a hash of the patient and the seed.

    A patient with a positive specimen counts as positive. At least one patient of each label stays for training.

    Args:
        scans: of the training split.
        share: of the patients; 0 sets nobody aside.
        seed: of the training.

    Returns:
        The scans to learn from, and those to watch with.
    """
    labels: dict[str, int] = {}
    for scan in scans:
        labels[scan.entry.patient] = max(labels.get(scan.entry.patient, 0), scan.label)
    aside: set[str] = set()
    for label in (0, 1):
        patients = [patient for patient, found in labels.items() if found == label]
        order = sorted(patients, key=lambda patient: derive_seed("hold-out", seed, patient))
        aside |= set(order[: min(round(share * len(order)), len(order) - 1)])
    return (
        [scan for scan in scans if scan.entry.patient not in aside],
        [scan for scan in scans if scan.entry.patient in aside],
    )


def _require_watchable(settings: EndToEndTraining, held_out: list[SurveyedScan]) -> None:
    if settings.deploy_best and {scan.label for scan in held_out} != {0, 1}:
        raise TrainingConfigInvalid(
            f"deploy_best needs held-out patients of both labels, but validation = {settings.validation} holds out "
            f"{len({scan.entry.patient for scan in held_out})} patients that don't have both."
        )


def _answering(precision: Precision) -> str:
    """The precision in which the trained encoder answers: as it was trained, where answers can be had so."""
    return precision.value if precision in (Precision.FLOAT32, Precision.BFLOAT16) else Precision.FLOAT32.value


def _embed(
    surveyed: Survey, spec: EncoderSpec, state: dict[str, Tensor], run: TrainingRun
) -> tuple[list[EmbeddedScan], list[ScanLeftOut]]:
    """Embed every scan, each rank its share; the first then has all bags at hand, the others have none."""
    scans, ranks = [*surveyed.training, *surveyed.tuning], run.ranks

    def embed(share: list[SurveyedScan]) -> tuple[list[EmbeddedScan], list[ScanLeftOut]]:
        return embed_scans(
            share,
            spec,
            state,
            run.config,
            run.scans_progress,
            folder=run.folder / BAGS,
            device=str(ranks.device),
        )

    if ranks.world > 1:
        ranks.agreed(lambda: embed(scans[ranks.rank :: ranks.world]))
    return embed(scans) if ranks.is_first else ([], [])
