"""Ways in which a run or a scan in it fails."""

from pellucid.core.errors import PellucidError
from pellucid.engine.ends import NothingReadable, NoTissue, ScanUnanswerable, UnexpectedFailure

__all__ = [
    "AuditBroken",
    "DecisionDiffers",
    "IdentityConflict",
    "NoTissue",
    "NothingReadable",
    "NothingToRun",
    "OutputUnusable",
    "PortUnusable",
    "ScanQuarantined",
    "ScanUnanswerable",
    "SpecimenUnknown",
    "TaskSuperseded",
    "UnexpectedFailure",
]


class IdentityConflict(PellucidError):
    """The same bytes are filed under more than one case."""

    code = "PEL-RUN-003"
    remedy = (
        "Find out whose scan it is, name the right file in the other specimen's row and run again; until then both "
        "are held. Where that row must go altogether, run into a new folder."
    )


class NothingToRun(PellucidError):
    """The inputs hold no scan."""

    code = "PEL-RUN-004"
    remedy = "Name a cases table (CSV or Parquet) or slide files; `pellucid init DIR` writes an example."


class OutputUnusable(PellucidError):
    """The output folder can't be written to."""

    code = "PEL-RUN-006"
    remedy = "Choose another folder with --out, or correct its permissions."


class SpecimenUnknown(PellucidError):
    """No specimen of that name has a decision here."""

    code = "PEL-RUN-007"
    remedy = "Use a pseudonym from the index page or results table, or the specimen's name in the cases table."


class DecisionDiffers(PellucidError):
    """What is stored as the decision doesn't follow from what is stored as its evidence."""

    code = "PEL-RUN-008"
    remedy = "Run `pellucid audit verify`: either a record was altered or another software version decided."


class PortUnusable(PellucidError):
    """The metrics can't be offered on the port that the settings name."""

    code = "PEL-RUN-011"
    remedy = "Name a free port above 1023 as `metrics_port`, or leave it out; `metrics.prom` is written either way."


class AuditBroken(PellucidError):
    """The audit trail, or a record that it seals, is not as it was written."""

    code = "PEL-RUN-009"
    remedy = "Don't rely on these results. `pellucid audit verify` names the first broken event; restore a backup."


class TaskSuperseded(PellucidError):
    """A scan that waited from an earlier run, which no specimen waits for any more."""

    code = "PEL-RUN-012"
    remedy = "Nothing is to be done; name the scan in the cases table again if it is wanted."


class ScanQuarantined(PellucidError):
    """A scan whose work ended its process each time it was alone in it."""

    code = "PEL-RUN-013"
    remedy = "See the cause with `pellucid queue show`. Copy or re-scan the slide, then `pellucid queue requeue` it."
