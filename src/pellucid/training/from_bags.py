"""`mode = "bags"`: a head on embeddings that are there already."""

from dataclasses import replace

from torch import Tensor

from pellucid.aggregators import GatedAttentionConfig
from pellucid.core.serial import to_plain
from pellucid.domain.cohort import Cohort
from pellucid.domain.encoder import EncoderSpec
from pellucid.encoders import SMALL_SPEC, encoder_entry
from pellucid.training.bag_store import StoredBags, load_bags
from pellucid.training.config import TrainingConfig
from pellucid.training.errors import TrainingConfigInvalid
from pellucid.training.fit import fit
from pellucid.training.head_loop import HeadTask
from pellucid.training.learnt import Learnt
from pellucid.training.run import TrainingRun
from pellucid.training.small import require_alone
from pellucid.training.validation import choose_setting, cross_validate, write_report

CROSS_VALIDATION = "cross_validation"


def learn_from_bags(cohort: Cohort, run: TrainingRun) -> Learnt:
    """Cross-validate where asked to, choose among the candidates on the training split, and train a head.

    Raises:
        RanksInvalid: there are several ranks; this is work for one.
        TrainingConfigInvalid: no folder of bags is named.
        BagsUnusable: table and bags don't fit; all problems are listed.
        EncoderUnknown, WeightsMissing, WeightsUnreadable, WeightsUnfit: the named encoder can't be had.
        TrainingDiverged, TrainingInterrupted: see `fit`.
    """
    require_alone(run)
    settings = run.config.bags
    if settings.folder is None:
        raise TrainingConfigInvalid("bags.folder is not set: mode bags needs a folder of bags.")
    spec, state = _encoder(run.config)
    bags = load_bags(cohort, settings.folder, run.config, run.scans_progress, by_digest=settings.by_digest, spec=spec)
    head_config = GatedAttentionConfig(input_dim=bags.dim)
    config, record = _chosen(bags, head_config, run)
    task = HeadTask(bags.training, head_config, config)
    fit(task, run.with_data(bags.digest))
    return Learnt(
        spec=spec or _unknown_encoder(bags),
        encoder_state=state,
        head_config=head_config,
        head_state=task.state(),
        training=bags.training,
        tuning=bags.tuning,
        left_out=bags.left_out,
        record={"bags": bags.digest, "losses": {"head": task.losses.means()}, **record},
        head_training=config.head,
    )


def _encoder(config: TrainingConfig) -> tuple[EncoderSpec | None, dict[str, Tensor] | None]:
    """The encoder that the bags are said to come from, read before anything is learnt; None where none is named."""
    settings = config.bags
    if settings.encoder is None:
        return None, None
    from pellucid.encoders import read_published, small_spec, state_digest
    from pellucid.encoders.weight_files import read_weights

    entry = encoder_entry(settings.encoder)
    if entry.spec.architecture == SMALL_SPEC.architecture and settings.weights is not None:
        state = read_weights(settings.weights)
        return small_spec(state_digest(state)), state
    return read_published(entry, settings.weights)


def _chosen(
    bags: StoredBags, head_config: GatedAttentionConfig, run: TrainingRun
) -> tuple[TrainingConfig, dict[str, object]]:
    """The configuration with the head's settings that did best on the training split, and what was found."""
    config, validation = run.config, run.config.validation
    folder, progress = run.folder / CROSS_VALIDATION, run.scans_progress
    candidate, choice = choose_setting(bags.training, head_config, config, folder, progress, validation=validation)
    record: dict[str, object] = {"choice": to_plain(choice)} if choice.trials else {}
    if validation.outer_folds:
        scans = [*bags.training, *bags.tuning]
        found = cross_validate(scans, head_config, config, folder, progress, validation=validation)
        write_report(found, folder, final=choice)
        record["cross_validation"] = CROSS_VALIDATION
    return replace(config, head=candidate.head), record


def _unknown_encoder(bags: StoredBags) -> EncoderSpec:
    """A stand-in for the encoder of bags that nobody named, for the head's digest; nothing can be built of it."""
    return replace(
        SMALL_SPEC,
        id=f"unknown ({bags.encoder[:16]})",
        architecture="unknown",
        weights_digest=bags.encoder,
        dim=bags.dim,
        licence="unknown",
        scope="unknown",
    )
