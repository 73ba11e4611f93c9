"""`pellucid status`: honest about what is alive, what is kept and what a kill would cost, also when all is dead."""

import json
import os
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer
from typer.testing import CliRunner, Result

from pellucid.cli.status import status
from pellucid.engine.checkpoint import Checkpoint, CheckpointHeader
from pellucid.engine.snapshot import (
    EngineSnapshot,
    EngineState,
    RestartCause,
    Restarts,
    ScanProgress,
    ended,
    lost_if_killed,
    write_snapshot,
)
from pellucid.records import process_owner

SECRET = "MUELLER-ANNA"
N_TILES = 100
app = typer.Typer()
app.command("status")(status)


def told(site: Any, *words: str) -> Result:
    return CliRunner().invoke(app, ["--out", str(site.out), *words], env={"COLUMNS": "200"})


def plain(site: Any, *words: str, code: int = 0) -> dict[str, Any]:
    done = told(site, "--json", *words)
    assert done.exit_code == code, done.output
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def keep(site: Any, word: str, n_tiles: int, *, age_s: float = 0.0) -> None:
    """Write the first embeddings of a scan, as an engine does."""
    path = site.out / "checkpoints" / f"{site.key(word)[:32]}.embeddings"
    header = CheckpointHeader(scan=site.digest(word), spec="s" * 64, grid="g" * 64, n_tiles=N_TILES, dim=4)
    checkpoint = Checkpoint.open(path, header)
    checkpoint.write(np.arange(n_tiles), np.zeros((n_tiles, 4), np.float16), np.ones(n_tiles, np.bool_))
    checkpoint.close()
    os.utime(path, (time.time() - age_s,) * 2)


def snapshot(site: Any, *scans: ScanProgress, owner: str = "", age_s: float = 0.0, **changes: Any) -> EngineSnapshot:
    made = EngineSnapshot(
        at=time.time() - age_s,
        run_id="run-1",
        owner=owner or process_owner(),
        state=EngineState.RUNNING,
        tiles_per_s=512.0,
        scans=scans,
        restarts=(Restarts(role="reader", cause=RestartCause.SIGSEGV, count=2),),
        lost_if_killed=lost_if_killed(scans),
    )
    made = replace(made, **changes)
    write_snapshot(site.out / "status.json", made)
    return made


def progress(site: Any, word: str) -> ScanProgress:
    return ScanProgress(
        name=site.name(word),
        stage="tiles",
        tiles_total=N_TILES,
        tiles_done=40,
        tiles_durable=32,
        tiles_in_flight=8,
        durable_s=3.0,
    )


def test_a_living_engine_says_what_a_kill_and_a_power_cut_would_lose(site: Any) -> None:
    site.begin("running")
    keep(site, "running", 40)
    snapshot(site, progress(site, "running"))

    answer = plain(site)

    assert answer["engine"]["life"] == "alive"
    (run,) = answer["runs"]
    assert (run["run_id"], run["life"], run["in_hand"]) == ("run-1", "alive", 1)
    (scan,) = answer["scans"]
    assert (scan["scan"], scan["state"], scan["life"]) == (site.name("running"), "tiles", "alive")
    assert (scan["tiles_kept"], scan["tiles_total"]) == (40, N_TILES)
    assert scan["kill"].startswith("8 tiles in memory; 40 are kept")
    assert scan["power_cut"].startswith("16 tiles: 32 are on the disk")
    assert "a kill now loses 8 tiles, a power cut 16 tiles" in told(site).stdout


def test_a_killed_engine_is_dead_and_has_nothing_more_to_lose(site: Any, dead_owner: str) -> None:
    site.begin("running", owner=dead_owner)
    keep(site, "running", 40, age_s=7200)
    snapshot(site, progress(site, "running"), owner=dead_owner, age_s=7200)

    answer = plain(site)

    assert answer["engine"]["life"] == "dead"
    assert answer["engine"]["age_s"] == pytest.approx(7200, abs=60)
    assert answer["runs"][0]["life"] == "dead"
    (scan,) = answer["scans"]
    assert scan["life"] == "dead"
    assert scan["kill"] == "nothing more: 40 tiles are kept and the next worker goes on from them"
    assert scan["last_step_s"] == pytest.approx(7200, abs=60)
    assert "DEAD: its process is gone" in told(site).stdout


def test_a_silent_engine_is_not_taken_for_alive(site: Any) -> None:
    snapshot(site, age_s=300)

    assert plain(site)["engine"]["life"] == "silent"
    assert "SILENT" in told(site).stdout


def test_an_engine_that_ended_is_said_to_have(site: Any) -> None:
    write_snapshot(site.out / "status.json", ended(snapshot(site)))

    assert plain(site)["engine"]["life"] == "ended"


def test_an_engine_whose_run_is_recorded_as_over_is_not_called_dead(site: Any, dead_owner: str) -> None:
    snapshot(site, owner=dead_owner, age_s=60)
    site.records.finish_run("run-1", "completed", {})

    assert plain(site)["engine"]["life"] == "ended"


def test_without_an_engine_s_status_leases_tell_who_lives(site: Any, dead_owner: str) -> None:
    site.begin("mine")
    site.begin("expired", owner="elsewhere:1:x-1-2", lease_s=1.0)
    site.begin("orphan", owner=dead_owner)  # last: a claim takes back what dead owners hold
    time.sleep(1.1)

    answer = plain(site)

    assert answer["engine"] is None
    lives = {scan["scan"]: scan["life"] for scan in answer["scans"]}
    assert lives == {site.name("mine"): "alive", site.name("orphan"): "dead", site.name("expired"): "silent"}
    assert "in memory, not known from here" in next(s["kill"] for s in answer["scans"] if s["life"] == "alive")


def test_a_checkpoint_that_nobody_works_on_is_told_under_its_pseudonym(site: Any) -> None:
    site.enqueue("begun")
    keep(site, "begun", 25, age_s=600)

    (scan,) = plain(site)["scans"]

    assert scan["scan"] == site.name("begun")
    assert scan["state"] == "begun, nobody works on it"
    assert (scan["tiles_kept"], scan["tiles_total"]) == (25, N_TILES)
    assert scan["kill"].startswith("nothing more")
    assert "10 min ago" in scan["power_cut"]


def test_nothing_under_way_loses_nothing(site: Any) -> None:
    shown = told(site).stdout

    assert "No engine has written its status here." in shown
    assert "a kill or a power cut loses nothing" in shown


def test_pauses_and_quarantined_scans_are_told_with_their_cause(site: Any) -> None:
    site.fill()
    site.records.pause(reason="disk swap", actor="user:ada")

    answer = plain(site)

    assert [(one["scan"], one["cause"]) for one in answer["quarantined"]] == [
        (site.name("deadly"), "Its work ended a process 3 times (SIGSEGV).")
    ]
    assert answer["pauses"][0]["reason"] == "disk swap"
    shown = told(site).stdout
    assert "PAUSED: The queue" in shown
    assert "user:ada" in shown
    assert "3 times (SIGSEGV)" in shown


def test_no_name_or_path_is_shown(site: Any) -> None:
    site.fill()
    site.begin("begun")
    keep(site, "begun", 25)

    for shown in (told(site).stdout, told(site, "--json").stdout):
        assert SECRET not in shown
        assert ".svs" not in shown


@pytest.mark.parametrize("damage", [b"", b"{", b"\x00" * 100])
def test_damaged_files_do_not_hide_the_rest(site: Any, damage: bytes) -> None:
    site.enqueue("begun")
    keep(site, "begun", 25)
    (site.out / "status.json").write_bytes(damage)
    (site.out / "checkpoints" / "feed.embeddings").write_bytes(damage)

    answer = plain(site)

    assert answer["engine"] is None
    assert [scan["tiles_kept"] for scan in answer["scans"]] == [25]


def test_without_records_the_folder_is_told_and_the_command_fails(site: Any, tmp_path: Path) -> None:
    keep(site, "begun", 25)
    snapshot(site)

    answer = plain(site, "--database", str(tmp_path / "gone.sqlite"), code=1)

    assert answer["problem"].startswith("PEL-RECORD-001")
    assert answer["engine"]["life"] == "alive"
    assert [scan["tiles_kept"] for scan in answer["scans"]] == [25]
    assert answer["scans"][0]["scan"] == site.key("begun")[:12]
    assert answer["queue"] is None


def test_a_wrong_setting_is_an_error_of_its_own(site: Any, tmp_path: Path) -> None:
    done = told(site, "--config", str(tmp_path / "absent.toml"))

    assert getattr(done.exception, "code", "") == "PEL-CORE-004"


def test_it_works_on_a_server_and_without_it(server_site: Any, server: Any) -> None:
    server_site.begin("running")
    keep(server_site, "running", 40)
    snapshot(server_site, progress(server_site, "running"))
    where = ["--database", server_site.address]

    assert plain(server_site, *where)["scans"][0]["kill"].startswith("8 tiles in memory")

    server.stop()
    try:
        answer = plain(server_site, *where, code=1)
    finally:
        server.start()
    assert answer["problem"].startswith("PEL-RECORD-001")
    assert answer["engine"]["life"] == "alive"
    assert plain(server_site, *where)["problem"] is None
