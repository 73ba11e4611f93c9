"""A split of a cohort through the engine, and back as assessed specimens."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from pellucid._version import __version__
from pellucid.core.digests import salted_digest
from pellucid.core.errors import PellucidError
from pellucid.core.software import software_digest
from pellucid.domain.cohort import Cohort, Split
from pellucid.domain.decision import Versions
from pellucid.domain.policy import SitePolicy
from pellucid.evaluation.errors import CohortUnusable, PatientsInSeveralSplits, PatientsSeenInTraining, PatientsUnknown
from pellucid.evaluation.specimens import Assessment, assess, check_labels, named_rows
from pellucid.pipeline import RunOptions, RunSummary, run_cohort
from pellucid.pipeline.decisions import Terms, gates_of
from pellucid.pipeline.filing import KeyParts
from pellucid.pipeline.interruption import StopRequest
from pellucid.pipeline.run import RunEvents
from pellucid.records import DATABASE_NAME, open_records

if TYPE_CHECKING:
    from pellucid.bundle import Bundle


def specimens_of(cohort: Cohort, split: Split, *, need_all: bool) -> Cohort:
    """The rows of a split, checked before a slide is opened.

    Raises:
        CohortUnusable: no rows, labels missing, one class only, or a specimen of which some scans are in the split.
        PatientsInSeveralSplits: a patient of the split is in another one too.
    """
    chosen = replace(cohort, entries=cohort.in_split(split))
    if not chosen.entries:
        raise CohortUnusable(f"No row of the table is in the split {split.value}.")
    check_labels(chosen, need_all=need_all)
    elsewhere = {entry.patient for entry in cohort.entries if entry.split not in {split, None}}
    refuse_patients(chosen, elsewhere, PatientsInSeveralSplits, "in another split too")
    specimens = chosen.specimens()
    if left_out := [entry for entry in cohort.entries if entry.specimen in specimens and entry.split is not split]:
        raise CohortUnusable(
            f"A scan of {named_rows(left_out)} belongs to a specimen of the split {split.value}, but is not in it."
        )
    return chosen


def refuse_known_patients(cohort: Cohort, bundle: "Bundle") -> None:
    """Check that the model has met no patient of these rows.

    Raises:
        PatientsUnknown: the bundle doesn't say whom it has met.
        PatientsSeenInTraining: names the rows.
    """
    known = bundle.patients
    if known is None:
        raise PatientsUnknown(f"The bundle {bundle.name} holds no digests of its training and tuning patients.")
    met = {*known.training, *known.tuning}
    patients = {entry.patient for entry in cohort.entries}
    seen = {patient for patient in patients if salted_digest(known.salt, patient) in met}
    refuse_patients(cohort, seen, PatientsSeenInTraining, "among those that the model was trained or tuned on")


def refuse_patients(cohort: Cohort, patients: set[str], error: type[PellucidError], what: str) -> None:
    """Raise `error` with the rows of these patients, if there are any."""
    rows = [entry for entry in cohort.entries if entry.patient in patients]
    if rows:
        whose = "patient of {} is" if len(rows) == 1 else "patients of {} are"
        raise error(f"The {whose.format(named_rows(rows))} {what}.")


def score_split(
    cohort: Cohort,
    bundle: "Bundle",
    out: Path,
    *,
    policy: SitePolicy,
    events: RunEvents,
    options: RunOptions,
    stop: StopRequest | None = None,
) -> tuple[RunSummary, Assessment | None]:
    """Score every scan and judge every specimen under a policy; no decision is recorded.

    What an earlier start has scored is not scored again, whatever the policy.

    Args:
        cohort: the rows of one split.
        bundle: a verified bundle.
        out: the folder of records, pictures and log.
        policy: what the specimens are judged under.
        events: is told what happens.
        options: how to run; its purpose is part of the results' keys.
        stop: asked all the time whether to stop.

    Returns:
        How the run ended, and the specimens; None where it was stopped before its end.
    """
    summary = run_cohort(
        cohort, bundle, out, policy=policy, events=events, options=replace(options, decides=False), stop=stop
    )
    if not summary.completed or summary.left:
        return summary, None
    terms = terms_for(bundle, policy, purpose=options.purpose)
    with open_records(options.database or out / DATABASE_NAME) as records:
        return summary, assess(records, cohort, terms=terms)


def terms_for(bundle: "Bundle", policy: SitePolicy, *, purpose: str) -> Terms:
    """What specimens are judged under, from the answers of a run of this purpose."""
    versions = Versions(
        model=bundle.model_digest, policy=policy.digest, software=software_digest(), software_version=__version__
    )
    return Terms(gates=gates_of(bundle), policy=policy, versions=versions, lane=KeyParts.of(bundle, purpose).lane)
