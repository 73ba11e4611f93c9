"""Many feature files to bags, or bags to feature files: each whole or not at all, and every refusal told at the end."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pellucid.core.errors import PellucidError
from pellucid.core.files import write_bytes
from pellucid.encoders.bag import BAG_SUFFIX, Bag, read_bag, write_bag
from pellucid.encoders.hdf5 import NOTHING_STATED, StatedFacts, feature_file_bytes
from pellucid.encoders.hdf5_child import FeatureFileReader
from pellucid.encoders.hdf5_errors import (
    BagNameTaken,
    BagsMixed,
    ConversionIncomplete,
    FileProblem,
    NothingToConvert,
)
from pellucid.encoders.hdf5_layouts import FeatureTool

HDF5_SUFFIXES = (".h5", ".hdf5")


@dataclass(frozen=True, slots=True, kw_only=True)
class Conversion:
    """What became of the files given.

    `written` are the names of new files, `known` of those that were there already with the same contents; `problems`
    has one entry for each file that wasn't converted.
    """

    written: tuple[str, ...]
    known: tuple[str, ...]
    problems: tuple[FileProblem, ...]

    def require_complete(self) -> None:
        """Raise where a file wasn't converted.

        Raises:
            ConversionIncomplete: names every such file with its reason and remedy.
        """
        if self.problems:
            total = len(self.problems) + len(self.written) + len(self.known)
            raise ConversionIncomplete(f"{len(self.problems)} of {total} files failed.", problems=self.problems)


def import_bags(
    inputs: Sequence[Path], out: Path, *, tool: FeatureTool | None = None, facts: StatedFacts = NOTHING_STATED
) -> Conversion:
    """Import feature files as bags, `<stem>.bag.safetensors` in `out`.

    One file is in memory at a time, and it is read by another process. All files of one call must be of one tool,
    encoder and width.

    Args:
        inputs: HDF5 files, or folders that are searched for them.
        out: folder for the bags.
        tool: whose layout the files have; None to tell from each file.
        facts: what a person says of all of them.

    Raises:
        NothingToConvert: no file was found.
    """
    kinds: list[tuple[str, str]] = []

    def convert(path: Path, target: Path) -> bool:
        bag = reader.read(path, tool=tool, facts=facts)
        kinds.append((bag.provenance["spec"], path.name))
        kind, first = kinds[0]
        if bag.provenance["spec"] != kind:
            raise BagsMixed(f"It is {bag.provenance['spec']}, while {first} is {kind}.")
        if target.exists():
            _require_same(bag, target)
            return False
        write_bag(target, bag)
        return True

    with FeatureFileReader() as reader:
        return _convert_all(_found(inputs, HDF5_SUFFIXES), out, BAG_SUFFIX, convert)


def export_bags(inputs: Sequence[Path], out: Path, *, tool: FeatureTool, mpp: float | None = None) -> Conversion:
    """Export bags as feature files of `tool`, `<stem>.h5` in `out`.

    Args:
        inputs: bag files, or folders that are searched for them.
        out: folder for the feature files.
        tool: whose layout to write.
        mpp: level-0 um/px of bags that don't say it.

    Raises:
        NothingToConvert: no bag was found.
        BagScaleUnknown: `mpp` is no slide's.
    """
    facts = StatedFacts(mpp=mpp)

    def convert(path: Path, target: Path) -> bool:
        image = feature_file_bytes(read_bag(path), tool=tool, name=target.stem, mpp=facts.mpp)
        if target.exists():
            if target.read_bytes() != image:
                raise BagNameTaken(f"{target.name} is there already with other contents.")
            return False
        write_bytes(target, image)
        return True

    return _convert_all(_found(inputs, (BAG_SUFFIX,)), out, HDF5_SUFFIXES[0], convert)


def _convert_all(paths: list[Path], out: Path, suffix: str, convert: Callable[[Path, Path], bool]) -> Conversion:
    """Convert each file; `convert` says whether it wrote anything."""
    written: list[str] = []
    known: list[str] = []
    problems: list[FileProblem] = []
    owners: dict[str, Path] = {}
    for path in paths:
        target = out / f"{_stem(path)}{suffix}"
        try:
            owner = owners.setdefault(target.name, path)
            if owner != path:
                raise BagNameTaken(f"{owner} would become {target.name} too.")
            (written if convert(path, target) else known).append(target.name)
        except PellucidError as error:
            problems.append(FileProblem(file=str(path), code=error.code, message=error.message, remedy=error.remedy))
    return Conversion(written=tuple(written), known=tuple(known), problems=tuple(problems))


def _found(inputs: Sequence[Path], suffixes: tuple[str, ...]) -> list[Path]:
    """The files named, and those in the folders named, in order and each once; a missing one stays in the list."""
    paths: list[Path] = []
    for path in inputs:
        inside = [inner for inner in sorted(path.rglob("*")) if inner.is_file()] if path.is_dir() else []
        named = [inner for inner in inside if inner.name.lower().endswith(suffixes) and not inner.name.startswith(".")]
        paths += named if path.is_dir() else [path]
    if not paths:
        raise NothingToConvert(f"No {' or '.join(suffixes)} file is in {', '.join(map(str, inputs)) or 'nothing'}.")
    return list({path.resolve(): path for path in paths}.values())


def _stem(path: Path) -> str:
    return path.name.removesuffix(BAG_SUFFIX) if path.name.endswith(BAG_SUFFIX) else path.stem


def _require_same(bag: Bag, target: Path) -> None:
    there = read_bag(target)
    same = np.array_equal(bag.features, there.features) and np.array_equal(bag.coords, there.coords)
    # another version of Pellucid makes the same bag of the same file
    if not same or {**bag.provenance, "software": ""} != {**there.provenance, "software": ""}:
        raise BagNameTaken(f"{target.name} is there already and is another bag.")
