"""From records to the views that pages show: everything under pseudonyms, nothing recomputed but the heatmaps."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pellucid.core.digests import digest_file
from pellucid.core.errors import known_errors
from pellucid.core.serial import from_plain
from pellucid.core.telemetry.logs import get_logger
from pellucid.domain.decision import Decision
from pellucid.domain.encoder import EncoderSpec
from pellucid.domain.policy import SitePolicy
from pellucid.monitoring import policies_of
from pellucid.records import Action, RecordedDecision, Records, Run, ScanResult, Task, TaskState
from pellucid.reports.coverage import covering_certificate
from pellucid.reports.heatmap import HeatmapImage, render_attention_sd, render_heatmap, render_icon, write_png
from pellucid.reports.views import (
    DecisionVersion,
    FailureView,
    HeatmapLegend,
    RunFacts,
    ScanImages,
    ScanView,
    SpecimenView,
    TilePicture,
)
from pellucid.triage import Gates

_ATTENTION = "attention.safetensors"
_TOP_TILE = "top_tile_"
_WAITING = FailureView(
    code="waiting",
    sentence="Not done yet: this page shows the decision of an earlier run, made without this answer.",
    remedy="Start the interrupted run again: it goes on where it stopped.",
)


@dataclass(frozen=True)
class Collection:
    """Reads one output folder's records; pictures lie in `folder`, where heatmaps are added."""

    records: Records
    folder: Path

    @cached_property
    def runs(self) -> dict[str, Run]:
        """All runs by their identifier."""
        return {run.run_id: run for run in self.records.runs()}

    @cached_property
    def _policies(self) -> dict[str, SitePolicy]:
        return policies_of(self.runs.values())

    def policy(self, run: Run) -> SitePolicy:
        """The policy that a run decided under, as recorded with it."""
        return self._policies[run.versions.policy]

    def decisions(self) -> list[Decision]:
        """Every version of every decision, in the order in which the specimens and then their versions came."""
        return [recorded.decision for history in self._history.values() for recorded in history]

    @cached_property
    def _history(self) -> dict[str, list[RecordedDecision]]:
        history: dict[str, list[RecordedDecision]] = {}
        for recorded in self.records.decisions(latest_only=False):
            history.setdefault(recorded.decision.specimen, []).append(recorded)
        return history

    @cached_property
    def _sequences(self) -> dict[tuple[str, int], int]:
        """The number of the audit event of each decision, by the specimen's pseudonym and version."""
        decided = (event for event in self.records.audit_events() if event.content["action"] == Action.DECIDE)
        return {(event.content["object"]["id"], event.content["details"]["version"]): event.seq for event in decided}

    def facts(self, run: Run) -> RunFacts:
        """What all pages of a run share."""
        spec = from_plain(EncoderSpec, run.settings["encoder"])
        return RunFacts(
            run=run.run_id,
            started=run.started_at,
            finished=run.finished_at,
            software_version=run.versions.software_version,
            bundle=run.settings["bundle"],
            bundle_digest=run.settings["bundle_digest"],
            encoder=spec.id,
            encoder_digest=spec.digest,
            synthetic=run.settings["synthetic"],
            n_passes=run.settings["n_passes"],
            biomarker="the planted signal" if run.settings["synthetic"] else "an EGFR mutation",
        )

    def specimens(self) -> list[SpecimenView]:
        """Every decided specimen with its latest decision, in the order of the decisions."""
        return [self._specimen(recorded) for recorded in self.records.decisions()]

    def _specimen(self, recorded: RecordedDecision) -> SpecimenView:
        name = recorded.decision.specimen
        pseudonym = self.records.pseudonym("specimen", name)
        filed = self.records.specimen(name)
        results = {result.task_key: result for result in self.records.scan_results(name)}
        tasks = {task.key: task for task in self.records.tasks(keys=filed.expected)}
        run = self.runs[recorded.run]
        gates = from_plain(Gates, run.settings["gates"])
        policy = self.policy(run)
        return SpecimenView(
            pseudonym=pseudonym,
            decision=recorded.decision,
            scans=tuple(self._scan(tasks[key], results.get(key), gates) for key in filed.expected if key in tasks),
            run=self.facts(run),
            policy=policy,
            certificate=covering_certificate(
                recorded, strata=filed.strata, results=results.values(), gates=gates, policy=policy
            ),
            strata=tuple(sorted(filed.strata.items())),
            expected_scans=max(filed.n_expected or 0, len(filed.expected)),
            decision_version=recorded.version,
            decided_at=recorded.at,
            audit_sequence=self._sequences.get((pseudonym, recorded.version)),
            history=tuple(self._version(pseudonym, one) for one in self._history[name]),
        )

    def _version(self, pseudonym: str, recorded: RecordedDecision) -> DecisionVersion:
        return DecisionVersion(
            version=recorded.version,
            at=recorded.at,
            verdict=recorded.decision.verdict,
            disposition=recorded.decision.disposition,
            reasons=recorded.decision.reasons,
            run=recorded.run,
            audit_sequence=self._sequences.get((pseudonym, recorded.version)),
        )

    def _scan(self, task: Task, result: ScanResult | None, gates: Gates) -> ScanView:
        pseudonym = self.records.pseudonym("scan", task.scan_digest or task.key)
        digest = task.scan_digest or task.key
        if result is None:
            failed = task.state is TaskState.FAILED
            failure = _failure(task.error_code or "", task.error_message or "") if failed else _WAITING
            return ScanView(pseudonym=pseudonym, digest=digest, info=None, failure=failure)
        images, legend, legend_sd = self._pictures(result)
        coded = [finding for finding in result.findings if finding.code]
        return ScanView(
            pseudonym=pseudonym,
            digest=digest,
            info=result.info,
            quality=result.quality,
            n_tiles=result.n_tiles,
            n_unreadable=result.n_unreadable,
            posterior=result.posterior,
            distance=result.observation.distance,
            distance_limit=gates.distance_limit,
            tumour_share=result.observation.tumour_share,
            tumour_limit=gates.tumour_limit,
            deterministic_logit=_calibrated(result.observation.deterministic_logit, gates),
            ensemble_logits=tuple(logit / gates.temperature for logit in result.observation.ensemble_logits),
            images=images,
            legend=legend,
            legend_sd=legend_sd,
            failure=_failure(coded[0].code or "", coded[0].detail) if coded else None,
            timings=result.observation.timings,
        )

    def _pictures(self, result: ScanResult) -> tuple[ScanImages, HeatmapLegend | None, HeatmapLegend | None]:
        if not self._intact(result):
            return ScanImages(), None, None
        paths = {Path(path).name: path for path in result.artefacts}
        named = {name.removesuffix(".png"): path for name, path in paths.items() if name.endswith(".png")}
        plain = ScanImages(
            icon=self._icon(named.get("thumbnail")),
            thumbnail=named.get("thumbnail"),
            tissue=named.get("tissue"),
            tiles=named.get("tiles"),
            focus=named.get("focus"),
            pen=named.get("pen"),
            stain=named.get("stain"),
        )
        if _ATTENTION not in paths or result.info is None:
            return plain, None, None
        heat, spread, tiles = self._heatmaps(result, paths[_ATTENTION], named)
        folder = Path(paths[_ATTENTION]).parent
        for name, image in (("heatmap", heat), ("heatmap_sd", spread)):
            write_png(self.folder / folder / f"{name}.png", image.overlay)
        images = replace(
            plain,
            heatmap=(folder / "heatmap.png").as_posix(),
            heatmap_sd=(folder / "heatmap_sd.png").as_posix(),
            top_tiles=tiles,
        )
        return images, heat.legend, spread.legend

    def _intact(self, result: ScanResult) -> bool:
        """Whether all pictures are there, and those that others are drawn from are as they were written."""
        drawn_from = {"thumbnail.png", _ATTENTION}
        for path, digest in result.artefacts.items():
            file = self.folder / path
            if not file.is_file() or (file.name in drawn_from and digest_file(file) != digest):
                name = self.records.pseudonym("scan", result.scan)
                get_logger("reports").warning("pictures are missing or altered, the page goes without", scan=name)
                return False
        return True

    def _icon(self, thumbnail: str | None) -> str | None:
        if thumbnail is None:
            return None
        path = Path(thumbnail).with_name("icon.png")
        write_png(self.folder / path, render_icon(self._pixels(thumbnail)))
        return path.as_posix()

    def _pixels(self, path: str) -> NDArray[np.uint8]:
        from PIL import Image

        with Image.open(self.folder / path) as picture:
            return np.asarray(picture.convert("RGB"), np.uint8)

    def _heatmaps(
        self, result: ScanResult, attention: str, named: Mapping[str, str]
    ) -> tuple[HeatmapImage, HeatmapImage, tuple[TilePicture, ...]]:
        from safetensors.numpy import load_file

        arrays = load_file(self.folder / attention)
        assert result.info is not None
        place = (
            self._pixels(named["thumbnail"]),
            arrays["coords"],
            int(arrays["level0_px"][0]),
            result.info.width,
            result.info.height,
        )
        mean = arrays["attention_mean"]
        ranks = sorted(int(name.removeprefix(_TOP_TILE)) for name in named if name.startswith(_TOP_TILE))
        highest = np.sort(mean)[::-1]
        tiles = tuple(
            TilePicture(path=named[f"{_TOP_TILE}{rank}"], rank=rank, attention=float(highest[rank - 1] * len(mean)))
            for rank in ranks
        )
        return render_heatmap(*place, mean), render_attention_sd(*place, arrays["attention_sd"]), tiles


def _calibrated(logit: float | None, gates: Gates) -> float | None:
    return None if logit is None else logit / gates.temperature


def _failure(code: str, sentence: str) -> FailureView:
    known = known_errors().get(code)
    return FailureView(code=code, sentence=sentence, remedy="" if known is None else str(known.remedy))
