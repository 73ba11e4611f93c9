"""`mode = "small"`: a small encoder from tiles whose tissue is known, then a head on its frozen features."""

from typing import Final

from pellucid.aggregators import GatedAttentionConfig
from pellucid.domain.cohort import Cohort
from pellucid.domain.encoder import EncoderSpec
from pellucid.encoders import SMALL_SPEC, small_spec, state_digest
from pellucid.training.bags import embed_scans
from pellucid.training.encoder_loop import EncoderTask
from pellucid.training.errors import RanksInvalid
from pellucid.training.fit import fit
from pellucid.training.head_loop import HeadTask
from pellucid.training.kept_survey import SURVEY_FILE, surveyed_once
from pellucid.training.learnt import Learnt, by_split
from pellucid.training.run import TrainingRun
from pellucid.training.survey import Survey, require_enough, survey
from pellucid.training.tiles import sample_tiles
from pellucid.training.truth import truth_of

BAGS: Final = "bags"


def learn_small(cohort: Cohort, run: TrainingRun) -> Learnt:
    """Train a small encoder, embed every scan with it, and train a head.

    Raises:
        RanksInvalid: there are several ranks; this is work for one.
        CohortUntrainable, SlidesUnusable: the cohort, or what is left of it, can't be learnt from.
        TrainingDiverged, TrainingInterrupted: see `fit`.
    """
    require_alone(run)
    config, progress = run.config, run.scans_progress
    surveyed = survey_of(run, cohort, SMALL_SPEC)
    tiles, unread = sample_tiles(surveyed.training, truth_of(cohort), config, progress)
    n_tiles = tiles.counts()
    task = EncoderTask(tiles, SMALL_SPEC, config)
    # half a gigabyte that nothing behind the task needs
    del tiles
    fit(task, run)
    state, encoder_losses = task.state(), task.losses.means()
    del task
    spec = small_spec(state_digest(state))
    scans = [*surveyed.training, *surveyed.tuning]
    embedded, unembedded = embed_scans(scans, spec, state, config, progress, folder=run.folder / BAGS)
    left_out = [*surveyed.left_out, *unread, *unembedded]
    require_enough([item.scan for item in embedded], [*surveyed.left_out, *unembedded], config)
    training, tuning = by_split(embedded, surveyed.training)
    head = HeadTask(training, GatedAttentionConfig(input_dim=spec.dim), config)
    fit(head, run)
    return Learnt(
        spec=spec,
        encoder_state=state,
        head_config=GatedAttentionConfig(input_dim=spec.dim),
        head_state=head.state(),
        training=training,
        tuning=tuning,
        left_out=left_out,
        record={"tiles": n_tiles, "losses": {"encoder": encoder_losses, "head": head.losses.means()}},
    )


def survey_of(run: TrainingRun, cohort: Cohort, spec: EncoderSpec) -> Survey:
    """The run's survey, as its first start made it."""
    identity = run.identity
    key = (identity.config, identity.software, identity.cohort, spec.digest)
    return surveyed_once(
        run.folder / SURVEY_FILE, cohort, key, lambda: survey(cohort, spec, run.config, run.scans_progress)
    )


def require_alone(run: TrainingRun) -> None:
    """Refuse several ranks.

    Raises:
        RanksInvalid: there are several.
    """
    if run.ranks.world > 1:
        raise RanksInvalid(
            f"Training in mode {run.config.mode.value} is work for one process, but {run.ranks.world} were started.",
            remedy="Start one process; only mode end_to_end is shared between several.",
        )
