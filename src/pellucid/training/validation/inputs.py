"""All that the result of a fold depends on, so that a result is never taken over by a fold that differs."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from pellucid.core.serial import to_plain
from pellucid.core.software import software_digest
from pellucid.training.bags import EmbeddedScan
from pellucid.training.validation.folds import Fold
from pellucid.training.validation.nested import Bench


@dataclass(frozen=True, slots=True, kw_only=True)
class Inputs:
    """All that a fold's result depends on, in plain types."""

    common: dict[str, Any]
    scans: tuple[list[Any], ...]

    @classmethod
    def of(cls, bench: Bench) -> "Inputs":
        """What all folds depend on; reads every bag once."""
        return cls(
            common={
                "software": software_digest(),
                "torch": torch.__version__,
                "head": to_plain(bench.head_config),
                "candidates": [to_plain(candidate) for candidate in bench.candidates],
                "inner_tiles": bench.inner_tiles,
                "seed": bench.config.seed,
                "min_per_class": bench.config.min_per_class,
            },
            scans=tuple(_identity(item) for item in bench.scans),
        )

    def told(self, folds: Sequence[Fold], seed: int) -> dict[str, Any]:
        """What the fold of these test and inner folds depends on, in the repetition `seed`."""
        return self.common | {"repeat": seed, "folds": [[[row, *self.scans[row]] for row in fold] for fold in folds]}


def _identity(item: EmbeddedScan) -> list[Any]:
    entry = item.scan.entry
    features = np.ascontiguousarray(item.bag.features)
    content = hashlib.sha256(f"{features.shape}".encode())
    content.update(features.data)
    return [entry.slide, entry.specimen, entry.patient, item.scan.label, item.scan.digest, content.hexdigest()]
