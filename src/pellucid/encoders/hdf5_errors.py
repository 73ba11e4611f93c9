"""What can be wrong with the feature files of other tools, and with bags on their way to them."""

from dataclasses import dataclass
from typing import Any

from pellucid.core.errors import PellucidError


class FeatureFileUnreadable(PellucidError):
    """A feature file is missing, truncated, damaged or no HDF5."""

    code = "PEL-MODEL-020"
    remedy = "Copy the file again from its source, or extract the features again."


class FeatureFileForeign(PellucidError):
    """A feature file isn't laid out as TRIDENT, CLAM or STAMP lay theirs out."""

    code = "PEL-MODEL-021"
    remedy = "Give files of tile features with coordinates; name the tool with --from where it was guessed wrongly."


class FeatureFileUnfit(PellucidError):
    """A feature file's arrays have wrong shapes, types or lengths, or hold no tile."""

    code = "PEL-MODEL-022"
    remedy = "Extract the features again: (n, dim) floating point with (n, 2) coordinates and n >= 1 are needed."


class FeatureFileNonFinite(PellucidError):
    """A feature file holds NaN or infinite values, or features beyond the range of float16."""

    code = "PEL-MODEL-023"
    remedy = "Extract the features again with another precision; such features are no input for a head."


class BagScaleUnknown(PellucidError):
    """Coordinates or tile sizes can't be converted, as the um/px they need is unknown or contradicted."""

    code = "PEL-MODEL-024"
    remedy = "State the slides' own level-0 um/px with --mpp; slides of several scales go in one call for each."


class BagNameTaken(PellucidError):
    """Two files of one name, or a file that is there already with other contents, would become one file."""

    code = "PEL-MODEL-025"
    remedy = "Give each slide a name of its own, or another folder with --out."


class BagsMixed(PellucidError):
    """Feature files of different encoders are in one import."""

    code = "PEL-MODEL-026"
    remedy = "Import the files of one encoder at a time, each into a folder of its own."


class NothingToConvert(PellucidError):
    """No feature file or bag is where one was looked for."""

    code = "PEL-MODEL-027"
    remedy = "Give files, or folders that hold *.h5 (to import) or *.bag.safetensors (to export)."


@dataclass(frozen=True, slots=True, kw_only=True)
class FileProblem:
    """Why one file wasn't converted: the file, the error's code and sentence, and what to do."""

    file: str
    code: str
    message: str
    remedy: str

    def __str__(self) -> str:
        """File, code, sentence and remedy."""
        return f"{self.file}: [{self.code}] {self.message} {self.remedy}"


class ConversionIncomplete(PellucidError):
    """Some files weren't converted; every one is named with its reason, and all others were converted.

    Args:
        message: one sentence.
        problems: one for each file, in the order of files.
        remedy: what to do about it.
        context: values for logs.
    """

    code = "PEL-MODEL-028"
    remedy = "Correct what is named for each file and start the same command again; what is done stays done."

    def __init__(
        self, message: str, *, problems: tuple[FileProblem, ...] = (), remedy: str | None = None, **context: object
    ) -> None:
        super().__init__("\n".join([message, *(f"  {problem}" for problem in problems)]), remedy=remedy, **context)
        self.sentence = message
        self.problems = problems

    def __reduce__(self) -> tuple[Any, ...]:
        return (_rebuild, (self.sentence, self.problems, self.remedy, self.context))


def _rebuild(
    message: str, problems: tuple[FileProblem, ...], remedy: str, context: dict[str, object]
) -> ConversionIncomplete:
    return ConversionIncomplete(message, problems=problems, remedy=remedy, **context)
