"""Make a synthetic cohort: slides, table, truth, and notes that say what it is."""

import multiprocessing
import shutil
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

from pellucid.cohort.errors import FolderOccupied, SynthesisInterrupted
from pellucid.cohort.synthetic.kinds import MARK, SynthesisConfig
from pellucid.cohort.synthetic.plan import ScanPlan, plan_cohort
from pellucid.cohort.synthetic.scans import draw_scan, write_drawn
from pellucid.cohort.synthetic.truth import ScanTruth, write_truth, write_truth_mask
from pellucid.cohort.writing import write_cohort
from pellucid.core.files import write_text
from pellucid.domain.cohort import Cohort, ScanEntry

TABLE = "cohort.csv"
MARKER = "SYNTHETIC"
Progress = Callable[[int, int], None]

_README = f"""{MARK} cohort
=========================

Every slide, name, label and outcome in this folder was drawn by Pellucid. Nothing here comes from a patient, and no
result on it says anything about real slides.

slides/     scans, pyramidal JPEG-tiled SVS and TIFF
cohort.csv  the cohort table
truth.csv   what was planted in each scan
truth/      masks at 8 um a pixel: 0 glass, 1 tissue, 2 tumour
"""


def synthesise(
    folder: Path,
    config: SynthesisConfig | None = None,
    *,
    workers: int = 2,
    progress: Progress | None = None,
) -> Path:
    """Make a synthetic cohort, replacing one that is already there; the same configuration gives the same bytes.

    Args:
        folder: becomes `slides/`, `cohort.csv`, `truth.csv`, `truth/`, `README.txt` and the marker file `SYNTHETIC`.
        config: what to make; the default cohort where omitted.
        workers: processes that draw; 1 draws in this process.
        progress: called with the number of scans done and of all scans.

    Returns:
        The path of the cohort table.

    Raises:
        FolderOccupied: the folder holds something else.
        SynthesisInterrupted: a drawing process died.
        StorageFull: the disk is full.
    """
    config = config or SynthesisConfig()
    _clear(folder)
    write_text(folder / MARKER, f"{MARK} cohort\n")
    write_text(folder / "README.txt", _README)
    plans = plan_cohort(config)
    truths = _draw_all(folder, plans, config.seed, workers, progress)
    write_truth(folder, truths)
    write_cohort(_table(folder, plans), folder / TABLE)
    return folder / TABLE


def _clear(folder: Path) -> None:
    """Empty a folder that holds a synthetic cohort, refuse one that holds anything else."""
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        if not (folder / MARKER).is_file():
            raise FolderOccupied(f"{folder} exists and is no synthetic cohort.")
        for name in ("slides", "truth"):
            shutil.rmtree(folder / name, ignore_errors=True)
        for name in (TABLE, "truth.csv"):
            (folder / name).unlink(missing_ok=True)


def _draw_all(
    folder: Path, plans: tuple[ScanPlan, ...], seed: int, workers: int, progress: Progress | None
) -> list[ScanTruth]:
    report = progress or (lambda _done, _total: None)
    truths: dict[str, ScanTruth] = {}
    if workers <= 1:
        for plan in plans:
            truths[plan.name] = make_scan(folder, plan, seed)
            report(len(truths), len(plans))
    else:
        spawn = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(min(workers, len(plans)), mp_context=spawn) as pool:
            futures = {pool.submit(make_scan, folder, plan, seed): plan for plan in plans}
            try:
                for future in as_completed(futures):
                    truths[futures[future].name] = future.result()
                    report(len(truths), len(plans))
            except BrokenProcessPool as error:
                raise SynthesisInterrupted(
                    f"A drawing process died after {len(truths)} of {len(plans)} scans."
                ) from error
            finally:
                pool.shutdown(cancel_futures=True)
    return [truths[plan.name] for plan in plans]


def make_scan(folder: Path, plan: ScanPlan, seed: int) -> ScanTruth:
    """Draw one scan, write its file and its mask, and return its truth."""
    drawn = draw_scan(plan, seed)
    write_drawn(drawn, plan, folder / "slides" / plan.file_name)
    write_truth_mask(folder, plan.file_name, drawn.truth)
    return ScanTruth(
        slide=plan.name,
        case=plan.case,
        specimen=plan.specimen,
        split=plan.split.value,
        kind=plan.kind,
        strength=plan.strength,
        tumour_fraction=drawn.tumour_fraction,
        label=plan.label,
        scanner=plan.scanner,
        mpp=plan.mpp,
    )


def _table(folder: Path, plans: tuple[ScanPlan, ...]) -> Cohort:
    entries = tuple(
        ScanEntry(
            case=plan.case,
            specimen=plan.specimen,
            block=plan.block,
            slide=plan.slide,
            path=folder / "slides" / plan.file_name,
            patient=plan.patient,
            split=plan.split,
            label=plan.label,
            strata=(("site", plan.site), ("specimen_type", plan.specimen_type)),
        )
        for plan in plans
    )
    return Cohort(entries=entries, name=folder.name, synthetic=True)
