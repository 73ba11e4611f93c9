"""The survey of a run, made once: hashing and judging thousands of slides takes hours that no restart should pay again.

It also fixes what the training learns from. A slide that breaks later fails when its turn comes, is recorded and
replaced (`training.stream`); were it left out of a second survey instead, every draw would be another.
"""

import io
import json
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pellucid.core.digests import digest_bytes, digest_json
from pellucid.core.files import write_bytes
from pellucid.domain.cohort import Cohort, ScanEntry, Split
from pellucid.domain.grid import TileGrid
from pellucid.domain.scan import Scale, ScaleSource
from pellucid.training.scans import ScanLeftOut
from pellucid.training.survey import Survey, SurveyedScan

SURVEY_FILE = "survey.npz"
_FORMAT = 1


def surveyed_once(path: Path, cohort: Cohort, key: Sequence[str], make: Callable[[], Survey]) -> Survey:
    """The survey in a file, or a new one that is written there.

    Args:
        path: the file.
        cohort: the table, whose rows the survey is of.
        key: all that the survey depends on besides the slides; a file of another key, or a damaged one, is made anew.
        make: makes a survey.

    Raises:
        StorageFull: there is no room for the file.
        PellucidError: of `make`.
    """
    digest = digest_json([_FORMAT, *key])
    kept = _read(path, cohort, digest)
    if kept is not None:
        return kept
    made = make()
    write_bytes(path, _to_bytes(made, cohort, digest))
    return made


def _entries(cohort: Cohort) -> list[ScanEntry]:
    return [*cohort.in_split(Split.TRAINING), *cohort.in_split(Split.TUNING)]


def _to_bytes(survey: Survey, cohort: Cohort, key: str) -> bytes:
    rows = {id(entry): nth for nth, entry in enumerate(_entries(cohort))}
    scans = [*survey.training, *survey.tuning]
    described = [
        {
            "row": rows[id(scan.entry)],
            "digest": scan.digest,
            "scale": [scan.scale.mpp_x, scan.scale.mpp_y, scan.scale.source.value, scan.scale.detail],
            "grid": [scan.grid.level0_px, scan.grid.tile_px, scan.grid.mpp, scan.grid.columns, scan.grid.rows],
            "n_tiles": len(scan.grid),
            "features": scan.features,
        }
        for scan in scans
    ]
    coords = np.concatenate([scan.grid.coords for scan in scans])
    fraction = np.concatenate([scan.grid.tissue_fraction for scan in scans])
    told = {
        "key": key,
        "arrays": _digest(coords, fraction),
        "scans": described,
        "left_out": [asdict(one) for one in survey.left_out],
    }
    text = json.dumps(told)
    file = io.BytesIO()
    np.savez(
        file,
        told=np.frombuffer(text.encode(), np.uint8),
        digest=np.frombuffer(digest_bytes(text.encode()).encode(), np.uint8),
        coords=coords,
        tissue_fraction=fraction,
    )
    return file.getvalue()


def _read(path: Path, cohort: Cohort, key: str) -> Survey | None:
    try:
        with np.load(path, allow_pickle=False) as file:
            text, digest = file["told"].tobytes(), file["digest"].tobytes().decode()
            coords, fraction = file["coords"], file["tissue_fraction"]
        if digest_bytes(text) != digest:
            return None
        told = json.loads(text)
        if told["key"] != key or told["arrays"] != _digest(coords, fraction):
            return None
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return None
    return _rebuilt(told, coords, fraction, _entries(cohort))


def _rebuilt(
    told: dict[str, Any], coords: NDArray[np.int32], fraction: NDArray[np.float32], entries: Sequence[ScanEntry]
) -> Survey:
    scans, start = [], 0
    for one in told["scans"]:
        stop = start + one["n_tiles"]
        mpp_x, mpp_y, source, detail = one["scale"]
        level0_px, tile_px, mpp, columns, rows = one["grid"]
        entry = entries[one["row"]]
        assert entry.label is not None
        scans.append(
            SurveyedScan(
                entry=entry,
                label=entry.label,
                digest=one["digest"],
                scale=Scale(mpp_x=mpp_x, mpp_y=mpp_y, source=ScaleSource(source), detail=detail),
                grid=TileGrid(
                    coords=coords[start:stop],
                    tissue_fraction=fraction[start:stop],
                    level0_px=level0_px,
                    tile_px=tile_px,
                    mpp=mpp,
                    columns=columns,
                    rows=rows,
                ),
                features=one["features"],
            )
        )
        start = stop
    by_split = {
        split: tuple(scan for scan in scans if scan.entry.split is split) for split in (Split.TRAINING, Split.TUNING)
    }
    left_out = tuple(ScanLeftOut(**one) for one in told["left_out"])
    return Survey(training=by_split[Split.TRAINING], tuning=by_split[Split.TUNING], left_out=left_out)


def _digest(coords: NDArray[np.int32], fraction: NDArray[np.float32]) -> str:
    return digest_bytes(np.ascontiguousarray(coords).tobytes() + np.ascontiguousarray(fraction).tobytes())
