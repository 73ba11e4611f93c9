"""From a cohort to a signed model bundle. A minimal loop: one machine, no checkpoints."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from pellucid._version import __version__
from pellucid.aggregators import GatedAttention, GatedAttentionConfig, load_head
from pellucid.bundle import BundleExists, BundleParts, GoldenChecks, SigningKey, build_bundle, record_golden
from pellucid.core.digests import canonical_json
from pellucid.core.files import write_json
from pellucid.core.serial import to_plain
from pellucid.core.software import software_digest
from pellucid.domain.cohort import Cohort
from pellucid.domain.encoder import EncoderSpec
from pellucid.encoders import SMALL_SPEC, half_features, load_encoder, small_spec, state_digest
from pellucid.training.bags import EmbeddedScan, embed_scans
from pellucid.training.calibrate import answer_scans, calibrate, describe_reference
from pellucid.training.card import Findings, findings_as_plain, measure, split_size, write_card
from pellucid.training.config import TrainingConfig
from pellucid.training.determinism import deterministic
from pellucid.training.encoder_loop import train_encoder
from pellucid.training.golden import golden_tiles
from pellucid.training.head_loop import train_ensemble, train_head
from pellucid.training.scans import Progress, ScanLeftOut
from pellucid.training.survey import Survey, check_cohort, require_enough, survey
from pellucid.training.tiles import sample_tiles
from pellucid.training.truth import truth_of
from pellucid.training.tumour import fit_tumour_head
from pellucid.training.tuning import Gating, digest_patients, tuning_specimens
from pellucid.uncertainty import model_digest

BUNDLE_FOLDER = "bundle"
HISTORY = "training.json"
_THREADS = 2


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Model:
    """A trained model: encoder and head with their weights, and the digest that keys its passes."""

    spec: EncoderSpec
    encoder_state: dict[str, Tensor]
    head_config: GatedAttentionConfig
    head_state: dict[str, Tensor]

    @property
    def digest(self) -> str:
        return model_digest(self.spec, self.head_config, state_digest(self.head_state))

    def head(self) -> GatedAttention:
        return load_head(self.head_config, self.head_state)


def train_bundle(
    cohort: Cohort,
    folder: Path,
    *,
    key: SigningKey,
    config: TrainingConfig | None = None,
    progress: Progress | None = None,
) -> Path:
    """Train an encoder and heads on a cohort's training split, calibrate on its tuning split, and sign the bundle.

    The same cohort and configuration give the same weights and numbers on the same machine; the salt of the patients'
    digests is drawn anew each time.

    Args:
        cohort: its training and tuning splits are used, no other.
        folder: gets the bundle in `bundle/` and the record of the training in `training.json`: losses, figures,
            configuration, and every scan that was left out with its reason.
        key: signs the bundle.
        config: the settings; the defaults where omitted.
        progress: called with (stage, done, total).

    Returns:
        The bundle's folder.

    Raises:
        BundleExists: the folder holds a bundle already.
        CohortUntrainable: the table lacks what a training needs; all of it is listed.
        SlidesUnusable: too many slides can't be used.
        TrainingDiverged: a loss is NaN or infinite.
        CalibrationImpossible: the tuning split is too small, or the model learnt nothing.
        StorageFull: the disk is full.
    """
    config = config or TrainingConfig()
    progress = progress or _silent
    target = folder / BUNDLE_FOLDER
    if target.exists():
        raise BundleExists(f"{target} exists.")
    check_cohort(cohort)
    with deterministic(_THREADS):
        return _train(cohort, target, key, config, progress)


def _train(cohort: Cohort, target: Path, key: SigningKey, config: TrainingConfig, progress: Progress) -> Path:
    surveyed = survey(cohort, SMALL_SPEC, config, progress)
    tiles, unread = sample_tiles(surveyed.training, truth_of(cohort), config, progress)
    n_tiles = tiles.counts()
    encoder_state, encoder_losses = train_encoder(tiles, SMALL_SPEC, config, progress)
    # half a gigabyte that nothing behind this line needs
    del tiles
    spec = small_spec(state_digest(encoder_state))
    training, tuning, unembedded = _embed(surveyed, spec, encoder_state, config, progress)
    head_config = GatedAttentionConfig(input_dim=spec.dim)
    head_state, head_losses = train_head(training, head_config, config, progress)
    ensemble = train_ensemble(training, head_config, config, progress)
    model = _Model(spec=spec, encoder_state=encoder_state, head_config=head_config, head_state=head_state)
    left_out = [*surveyed.left_out, *unread, *unembedded]
    findings = _calibrate(cohort, model, training, tuning, left_out, config, progress)
    parts = BundleParts(
        name=config.name,
        synthetic=cohort.synthetic,
        spec=spec,
        encoder_state=encoder_state,
        head_config=head_config,
        head_state=head_state,
        calibration=findings.calibration,
        reference=findings.reference,
        golden=_golden(model, config),
        model_card=write_card(cohort, spec, findings, config),
        software_version=__version__,
        licence=spec.licence,
        provenance=_provenance(cohort, config),
        ensemble=ensemble,
        tumour=findings.tumour,
        patients=digest_patients(cohort),
        tuning=findings.specimens,
    )
    record = {
        "model_digest": model.digest,
        "config": to_plain(config),
        "tiles": n_tiles,
        "losses": {"encoder": encoder_losses, "head": head_losses},
        **findings_as_plain(findings),
    }
    write_json(target.parent / HISTORY, record)
    return build_bundle(target, parts, key)


def _embed(
    surveyed: Survey, spec: EncoderSpec, state: dict[str, Tensor], config: TrainingConfig, progress: Progress
) -> tuple[list[EmbeddedScan], list[EmbeddedScan], list[ScanLeftOut]]:
    scans = [*surveyed.training, *surveyed.tuning]
    embedded, left_out = embed_scans(scans, spec, state, config, progress)
    require_enough([item.scan for item in embedded], [*surveyed.left_out, *left_out], config)
    wanted = {id(scan) for scan in surveyed.training}
    training = [item for item in embedded if id(item.scan) in wanted]
    tuning = [item for item in embedded if id(item.scan) not in wanted]
    return training, tuning, left_out


def _calibrate(
    cohort: Cohort,
    model: _Model,
    training: Sequence[EmbeddedScan],
    tuning: Sequence[EmbeddedScan],
    left_out: Sequence[ScanLeftOut],
    config: TrainingConfig,
    progress: Progress,
) -> Findings:
    head, digest = model.head(), model.digest
    reference_answers = answer_scans(training, head, model=digest, config=config, stage="reference", progress=progress)
    answers = answer_scans(tuning, head, model=digest, config=config, stage="calibration", progress=progress)
    calibration, tuned = calibrate(answers, config)
    reference = describe_reference(reference_answers, answers, tuned, calibration, config)
    tumour = fit_tumour_head(training, tuning, truth_of(cohort))
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
        left_out=tuple(left_out),
    )


def _counted(item: EmbeddedScan) -> tuple[str, str, int]:
    return item.scan.entry.patient, item.scan.entry.specimen, item.scan.label


def _golden(model: _Model, config: TrainingConfig) -> GoldenChecks:
    encoder = load_encoder(model.spec, model.encoder_state)
    pixels = golden_tiles(model.spec)
    return record_golden(
        encoder,
        model.head(),
        model=model.digest,
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


def _silent(stage: str, done: int, total: int) -> None:
    pass
