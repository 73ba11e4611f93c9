"""From a cohort table and a folder of bags to what a head is trained and tuned on, with every problem said at once."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from pellucid.core.digests import digest_json
from pellucid.core.errors import PellucidError
from pellucid.domain.cohort import Cohort, ScanEntry, Split
from pellucid.domain.encoder import EncoderSpec
from pellucid.encoders import BAG_SUFFIX
from pellucid.slides import identify
from pellucid.training.bags import EmbeddedScan
from pellucid.training.config import TrainingConfig
from pellucid.training.errors import CohortUntrainable, SlidesUnusable
from pellucid.training.scans import Progress, ScanLeftOut, each_scan
from pellucid.training.stored_bag import BagFile, content_mark, describe_bag, map_bag, scan_of, stem_of
from pellucid.training.survey import check_cohort, require_enough

_SPLITS = (Split.TRAINING, Split.TUNING)
_SHOWN = 20
_EXAMPLES = 3
_SHOWN_OF_NAME = 48
_STAGE = "bags"


class BagsUnusable(PellucidError):
    """A folder of bags doesn't give what a cohort's training needs; all that is wrong is listed."""

    code = "PEL-TRAIN-050"
    remedy = "Mend the named rows of the table, or make the named bags anew with `pellucid bag`."


class BagMissing(PellucidError):
    """A row of the cohort has no bag."""

    code = "PEL-TRAIN-051"
    remedy = "Make or import its bag; a bag is found by its scan's digest, or is named as the slide or its file."


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class StoredBags:
    """The scans of both splits with their bags, which stay on disk until their rows are used.

    `encoder` is what all bags say of their encoder, the digest of its spec for Pellucid's own; `dim` their width.
    `digest` names the bags that were found, whatever their files are called.
    """

    training: tuple[EmbeddedScan, ...]
    tuning: tuple[EmbeddedScan, ...]
    left_out: tuple[ScanLeftOut, ...]
    encoder: str
    dim: int
    digest: str


@dataclass(slots=True)
class _Matches:
    """The bag of each row that has just one, the rows left out, and what is wrong with the others."""

    bags: list[tuple[ScanEntry, BagFile]] = field(default_factory=list)
    left_out: list[ScanLeftOut] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


def load_bags(
    cohort: Cohort,
    folder: Path,
    config: TrainingConfig,
    progress: Progress,
    *,
    by_digest: bool = False,
    spec: EncoderSpec | None = None,
) -> StoredBags:
    """Find, verify and map the bag of every training and tuning scan.

    A row's bag is the file `*.bag.safetensors`, in the folder or below it, that is named as the row's slide or as its
    file without suffix; by digest, also the one that was made from the very bytes of the row's file. Only so many
    rows as `config.max_unusable` allows may lack a readable bag; anything that could mix up or leak refuses all.

    Args:
        cohort: the table.
        folder: the bags.
        config: how many scans may be left out, and how many threads verify.
        progress: told of the stages "digests" and "bags".
        by_digest: hash the scans' files, which reads every byte of them; bags of `pellucid bag make` need it, as they
            are named by their scans' digests.
        spec: the encoder that the bags must be of; any, but the same one, where omitted. Imported bags don't know its
            digest, so only their width is held against it: that it made them is whoever names it to say.

    Raises:
        BagsUnusable: lists every problem of table, folder and bags.
    """
    entries = [entry for split in _SPLITS for entry in cohort.in_split(split)]
    table = _table_problems(cohort)
    files, unreadable = _files_in(folder)
    digests = _digests(entries, config, progress) if by_digest else {}
    matches = _match(entries, files, unreadable, digests)
    scans, spoilt = _open(matches.bags, config, progress)
    left_out = [*matches.left_out, *spoilt]
    problems = [
        *table,
        *matches.problems,
        *_encoder_problems(matches.bags, spec),
        *_twin_problems(scans),
        *_shortage(scans, left_out, config, _hint(matches, files, by_digest=by_digest)),
    ]
    if problems:
        more = f"; and {len(problems) - _SHOWN} more" if len(problems) > _SHOWN else ""
        raise BagsUnusable(
            f"The bags in {folder} can't be trained on with the cohort {cohort.name!r}: "
            f"{'; '.join(problems[:_SHOWN])}{more}.",
            problems=problems,
            left_out=len(left_out),
        )
    by_split = {split: tuple(one for one in scans if one.scan.entry.split is split) for split in _SPLITS}
    return StoredBags(
        training=by_split[Split.TRAINING],
        tuning=by_split[Split.TUNING],
        left_out=tuple(left_out),
        encoder=matches.bags[0][1].encoder,
        dim=matches.bags[0][1].dim,
        digest=_digest_of(matches.bags, scans),
    )


def _table_problems(cohort: Cohort) -> list[str]:
    try:
        check_cohort(cohort)
    except CohortUntrainable as error:
        found = error.context["problems"]
        assert isinstance(found, list)
        return found
    return []


def _files_in(folder: Path) -> tuple[list[BagFile], dict[Path, PellucidError]]:
    files, unreadable = [], {}
    for path in sorted(folder.rglob(f"*{BAG_SUFFIX}")):
        try:
            files.append(describe_bag(path))
        except PellucidError as error:
            unreadable[path] = error
    return files, unreadable


def _digests(entries: Sequence[ScanEntry], config: TrainingConfig, progress: Progress) -> dict[ScanEntry, str]:
    """The digest of each row's file, of those that are there and can be read."""
    found, _ = each_scan(
        entries,
        lambda entry: (entry, identify(entry.path).digest),
        entry_of=lambda entry: entry,
        stage="digests",
        workers=config.workers,
        progress=progress,
    )
    return dict(found)


def _match(
    entries: Sequence[ScanEntry],
    files: Sequence[BagFile],
    unreadable: Mapping[Path, PellucidError],
    digests: Mapping[ScanEntry, str],
) -> _Matches:
    named, made_from = defaultdict(list), defaultdict(list)
    for file in files:
        named[file.stem].append(file)
        if file.scan is not None:
            made_from[file.scan].append(file)
    spoilt = {stem_of(path): error for path, error in unreadable.items()}
    matches = _Matches()
    for entry in entries:
        names = {entry.slide, entry.path.stem} - {""}
        found = {file.path: file for name in sorted(names) for file in named[name]}
        if digest := digests.get(entry):
            matches.problems += [
                f"the bag {file.path.name} is named as {_where(entry)}, but was made from another scan"
                for file in found.values()
                if file.scan not in {None, digest}
            ]
            found |= {file.path: file for file in made_from[digest]}
        error = next((spoilt[name] for name in sorted(names) if name in spoilt), None)
        _settle(entry, list(found.values()), error, matches)
    matches.problems += _shared(matches.bags)
    return matches


def _settle(entry: ScanEntry, found: Sequence[BagFile], error: PellucidError | None, matches: _Matches) -> None:
    if len(found) > 1:
        names = ", ".join(file.path.name for file in found)
        matches.problems.append(f"{_where(entry)} has {len(found)} bags: {names}")
    elif found:
        matches.bags.append((entry, found[0]))
    else:
        error = error or BagMissing(f"No bag is named {entry.slide} or {entry.path.stem}.")
        matches.left_out.append(ScanLeftOut.because(entry, _STAGE, error))


def _shared(bags: Sequence[tuple[ScanEntry, BagFile]]) -> Iterator[str]:
    rows = defaultdict(list)
    for entry, file in bags:
        rows[file.path].append(_where(entry))
    for path, named in rows.items():
        if len(named) > 1:
            yield f"{' and '.join(named)} have one and the same bag, {path.name}"


def _open(
    bags: Sequence[tuple[ScanEntry, BagFile]], config: TrainingConfig, progress: Progress
) -> tuple[list[EmbeddedScan], list[ScanLeftOut]]:
    return each_scan(
        # a row without a label is among the table's problems
        [(entry, file) for entry, file in bags if entry.label is not None],
        lambda pair: _embedded(*pair),
        entry_of=lambda pair: pair[0],
        stage=_STAGE,
        workers=config.workers,
        progress=progress,
    )


def _embedded(entry: ScanEntry, file: BagFile) -> EmbeddedScan:
    assert entry.label is not None
    bag = map_bag(file)
    return EmbeddedScan(scan=scan_of(entry, entry.label, file, bag), bag=bag, tiles=np.arange(len(bag)))


def _encoder_problems(bags: Sequence[tuple[ScanEntry, BagFile]], spec: EncoderSpec | None) -> Iterator[str]:
    groups = defaultdict(list)
    others = []
    for entry, file in bags:
        groups[file.encoder, file.dim].append(_where(entry))
        if spec is not None and not file.may_be_of(spec):
            others.append(_where(entry))
    if len(groups) > 1:
        told = [f"{_encoder(*key)} ({_examples(rows)})" for key, rows in groups.items()]
        yield f"the bags are of {len(groups)} encoders: {'; '.join(told)}"
    if spec is not None and others:
        yield f"the bags of {_examples(others)} are not of {spec.id}, {_encoder(spec.digest, spec.dim)}"


def _encoder(name: str, dim: int) -> str:
    return f"{dim} features of {f'encoder {name[:_SHOWN_OF_NAME]}' if name else 'an encoder not named'}"


def _twin_problems(scans: Sequence[EmbeddedScan]) -> Iterator[str]:
    """One scan, or one bag, under two names would be learnt from twice, or be tested on what was learnt."""
    for what, marks in (
        ("were made from one and the same scan", [one.scan.digest for one in scans]),
        ("hold the same embeddings", [content_mark(one.bag) for one in scans]),
    ):
        rows = defaultdict(list)
        for one, mark in zip(scans, marks, strict=True):
            rows[mark].append(_where(one.scan.entry))
        for named in rows.values():
            if len(named) > 1:
                yield f"the bags of {' and '.join(named)} {what}"


def _shortage(
    scans: Sequence[EmbeddedScan], left_out: Sequence[ScanLeftOut], config: TrainingConfig, hint: str
) -> Iterator[str]:
    try:
        require_enough([one.scan for one in scans], left_out, config)
    except SlidesUnusable as error:
        yield error.message + hint


def _hint(matches: _Matches, files: Sequence[BagFile], *, by_digest: bool) -> str:
    used = {file.path for _, file in matches.bags}
    known = sum(file.scan is not None and file.path not in used for file in files)
    if not files:
        return " (no readable bag is there)"
    if by_digest or not known or not matches.left_out:
        return ""
    return f" ({known} bags without a row know their scan's digest: match by digest)"


def _digest_of(bags: Sequence[tuple[ScanEntry, BagFile]], scans: Sequence[EmbeddedScan]) -> str:
    used = {id(one.scan.entry) for one in scans}
    return digest_json(sorted(file.digest for entry, file in bags if id(entry) in used))


def _examples(rows: Sequence[str]) -> str:
    more = f" and {len(rows) - _EXAMPLES} more" if len(rows) > _EXAMPLES else ""
    return ", ".join(rows[:_EXAMPLES]) + more


def _where(entry: ScanEntry) -> str:
    return f"slide {entry.slide}" if entry.row is None else f"row {entry.row} (slide {entry.slide})"
