"""What each finished task answered, and what was observed in each attempt."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, RowMapping, func, select

from pellucid.core.clock import utc_now
from pellucid.core.digests import digest_json
from pellucid.core.serial import from_plain, to_plain
from pellucid.domain.decision import Versions
from pellucid.domain.observation import Observation
from pellucid.domain.posterior import Posterior
from pellucid.domain.quality import Quality
from pellucid.domain.reasons import Finding
from pellucid.domain.scan import ScanInfo
from pellucid.records.database import read_by_keys
from pellucid.records.tables import observation as observations
from pellucid.records.tables import run as runs
from pellucid.records.tables import scan_result as results
from pellucid.records.task_types import ClaimedTask
from pellucid.records.types import ScanResult
from pellucid.records.values import from_text, pack_floats, to_text, unpack_floats


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a task answered, as its worker hands it over; see `ScanResult`."""

    logits: Sequence[float] = ()
    posterior: Posterior | None = None
    quality: Quality | None = None
    info: ScanInfo | None = None
    findings: Sequence[Finding] = ()
    n_tiles: int = 0
    n_unreadable: int = 0
    artefacts: Mapping[str, str] = field(default_factory=dict)

    def summary(self) -> dict[str, Any]:
        """What an audit event tells of it: numbers, reasons and digests."""
        posterior = self.posterior
        return {
            "probability": None if posterior is None else posterior.probability,
            "mean_logit": None if posterior is None else posterior.mean_logit,
            "sd_logit": None if posterior is None else posterior.sd_logit,
            "mutual_information": None if posterior is None else posterior.mutual_information,
            "n_passes": len(self.logits),
            "n_tiles": self.n_tiles,
            "n_unreadable": self.n_unreadable,
            "reasons": sorted({finding.reason.value for finding in self.findings}),
            "artefacts": digest_json(dict(self.artefacts)),
        }


def insert_observation(connection: Connection, task: ClaimedTask, observation: Observation) -> int:
    """Record what was observed in one attempt; the row's number."""
    values = {
        "task_key": task.key,
        "scan": observation.scan,
        "specimen": observation.specimen,
        "run": observation.run,
        "at": observation.at,
        "purpose": observation.purpose,
        "model": observation.model,
        "error": observation.error,
        "document": to_text(observation, what="observation"),
    }
    statement = observations.insert().values(values).returning(observations.c.id)
    return int(connection.execute(statement).scalar_one())


def insert_result(
    connection: Connection, task: ClaimedTask, observation: Observation, observation_id: int, answer: Answer
) -> int:
    """Record what a task answered; the row's number."""
    posterior = answer.posterior
    values = {
        "task_key": task.key,
        "observation": observation_id,
        "specimen": task.specimen,
        "scan": observation.scan,
        "run": observation.run,
        "at": utc_now(),
        "model": observation.model,
        "policy": observation.policy,
        "software": observation.software,
        "logits": pack_floats(answer.logits, what="logits"),
        "temperature": None if posterior is None else posterior.temperature,
        "posterior": None if posterior is None else to_text(posterior, what="posterior"),
        "quality": None if answer.quality is None else to_text(answer.quality, what="quality"),
        "info": None if answer.info is None else to_text(answer.info, what="scan's description"),
        "findings": to_text([to_plain(finding) for finding in answer.findings], what="findings"),
        "artefacts": to_text(dict(answer.artefacts), what="artefacts"),
        "n_tiles": answer.n_tiles,
        "n_unreadable": answer.n_unreadable,
    }
    return int(connection.execute(results.insert().values(values).returning(results.c.id)).scalar_one())


def read_results(connection: Connection, *, keys: Collection[str] | None, run_id: str | None) -> list[ScanResult]:
    """Results in the order they were recorded."""
    query = (
        select(results, observations.c.document, runs.c.software_version)
        .join(observations, observations.c.id == results.c.observation)
        .join(runs, runs.c.run_id == results.c.run)
    )
    if run_id is not None:
        query = query.where(results.c.run == run_id)
    rows = read_by_keys(connection, query, results.c.task_key, keys)
    return [_result(row) for row in sorted(rows, key=lambda row: row["id"])]


def read_observations(
    connection: Connection, *, since: str | None, model: str | None, run_id: str | None, latest_only: bool
) -> list[Observation]:
    """Observations in the order they were recorded; the last attempt at each task, or all."""
    query = select(observations.c.document).order_by(observations.c.id)
    if latest_only:
        query = query.where(
            observations.c.id.in_(select(func.max(observations.c.id)).group_by(observations.c.task_key))
        )
    if since is not None:
        query = query.where(observations.c.at >= since)
    if model is not None:
        query = query.where(observations.c.model == model)
    if run_id is not None:
        query = query.where(observations.c.run == run_id)
    return [from_plain(Observation, from_text(document)) for document in connection.execute(query).scalars()]


def _result(row: RowMapping) -> ScanResult:
    return ScanResult(
        task_key=row["task_key"],
        specimen=row["specimen"],
        scan=row["scan"],
        run=row["run"],
        at=row["at"],
        logits=unpack_floats(row["logits"]),
        posterior=None if row["posterior"] is None else from_plain(Posterior, from_text(row["posterior"])),
        quality=None if row["quality"] is None else from_plain(Quality, from_text(row["quality"])),
        info=None if row["info"] is None else from_plain(ScanInfo, from_text(row["info"])),
        findings=tuple(from_plain(Finding, finding) for finding in from_text(row["findings"])),
        n_tiles=row["n_tiles"],
        n_unreadable=row["n_unreadable"],
        artefacts=from_text(row["artefacts"]),
        versions=Versions(
            model=row["model"],
            policy=row["policy"],
            software=row["software"],
            software_version=row["software_version"],
        ),
        observation=from_plain(Observation, from_text(row["document"])),
    )
