"""Why specimens can't be counted, and why nothing can be certified on them."""

from pellucid.core.errors import PellucidError


class CohortUnusable(PellucidError):
    """The table lacks what certification or evaluation needs; all of it is listed."""

    code = "PEL-EVAL-001"
    remedy = "Mend the rows that are named; `pellucid cohort check` shows the table's other problems."


class AssessmentIncomplete(PellucidError):
    """Some specimens are not done yet."""

    code = "PEL-EVAL-002"
    remedy = "Start the same command again: it goes on where it stopped."


class PatientsSeenInTraining(PellucidError):
    """Patients of the split are among those that the model was trained or tuned on."""

    code = "PEL-EVAL-003"
    remedy = "Take the specimens of these patients out: a guarantee needs patients that the model has never met."


class PatientsInSeveralSplits(PellucidError):
    """A patient is in more than one split of the table."""

    code = "PEL-EVAL-004"
    remedy = "Give every patient to one split, as `pellucid cohort split` does."


class PatientsUnknown(PellucidError):
    """The bundle doesn't tell which patients it was made with, so that nothing can be certified against it."""

    code = "PEL-EVAL-005"
    remedy = "Train the bundle again with this version of Pellucid, which records salted digests of its patients."


class TargetsInvalid(PellucidError):
    """The targets of a certification can't be used."""

    code = "PEL-EVAL-006"
    remedy = "Give each target and delta as a share between 0 and 1, and at least one claim."


class PatientsCertifiedUpon(PellucidError):
    """Patients of the split are among those that the policy was certified on."""

    code = "PEL-EVAL-007"
    remedy = "Evaluate on other patients: on these the certificate's figures hold by construction."


class PolicyPlaceUnusable(PellucidError):
    """The policy can't be written where it was asked for, or something else lies there."""

    code = "PEL-EVAL-008"
    remedy = "Give another path for the policy; only `pellucid policy activate` replaces one that is in force."


class NothingPassed(PellucidError):
    """No specimen passed every gate, so that nothing could be certified; no label was opened."""

    code = "PEL-EVAL-009"
    remedy = "Find out why with `pellucid evaluate` on other specimens; the reasons are those of the gates."
