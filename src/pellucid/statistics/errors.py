"""Numbers from which no honest statistic follows."""

from pellucid.core.errors import PellucidError


class LogitsInvalid(PellucidError):
    """Logits are missing, not finite, or don't match each other pass by pass."""

    code = "PEL-STAT-001"
    remedy = (
        "Run the passes of every scan again with the same number of passes; restore stored logits from their source."
    )


class SummaryInvalid(PellucidError):
    """A temperature, level or count of scans can't be used."""

    code = "PEL-STAT-002"
    remedy = "Take temperature and level from the model bundle's calibration."


class LabelsInvalid(PellucidError):
    """Labels aren't 0 and 1, or don't pair with the predictions."""

    code = "PEL-STAT-003"
    remedy = "Give one label, 0 or 1, for each prediction, and leave out cases without an outcome."


class OneClass(PellucidError):
    """All labels are the same, so nothing can be told apart."""

    code = "PEL-STAT-004"
    remedy = "Take a set that holds both mutated and wild-type cases."


class ProbabilitiesInvalid(PellucidError):
    """A probability is missing, not finite or outside [0, 1], or a score is not finite."""

    code = "PEL-STAT-005"
    remedy = "Leave out cases without an answer before measuring, and report how many there were."


class CalibrationImpossible(PellucidError):
    """The logits and labels at hand allow no temperature."""

    code = "PEL-STAT-006"
    remedy = "Use more tuning cases of both classes, or a better head; a bundle isn't built without calibration."


class EmbeddingsInvalid(PellucidError):
    """Embeddings aren't a finite matrix that fits the reference."""

    code = "PEL-STAT-007"
    remedy = "Compare only embeddings of the model that the reference was fitted on."


class ReferenceDegenerate(PellucidError):
    """Too few or too uniform embeddings to say what is familiar."""

    code = "PEL-STAT-008"
    remedy = "Fit the reference on more slides, from all sites and scanners that the model is meant for."


class BootstrapImpossible(PellucidError):
    """Resampling can't give an interval."""

    code = "PEL-STAT-009"
    remedy = "Use more patients of both classes, and at least 100 resamples."


class ScoresInvalid(PellucidError):
    """A score that certification orders specimens by is NaN or minus infinity, or the scores are no vector."""

    code = "PEL-STAT-010"
    remedy = "Give a specimen without an answer, or one that fails a gate, the score plus infinity."


class RateInvalid(PellucidError):
    """A target, confidence, coverage or prevalence lies outside its range."""

    code = "PEL-STAT-011"
    remedy = "Give shares as numbers between 0 and 1, such as 0.05."


class CountsInvalid(PellucidError):
    """Counts aren't whole numbers with 0 <= k <= n."""

    code = "PEL-STAT-012"
    remedy = "Count specimens and the errors among them over the same set."


class ClassesApart(OneClass):
    """The logits of the two classes don't overlap, so no finite calibration slope exists."""

    code = "PEL-STAT-013"
    remedy = "Report the slope as undefined; more cases make the classes overlap."
