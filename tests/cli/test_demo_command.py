"""The demo's own steps and ends, without slides or a model."""

from pathlib import Path
from types import SimpleNamespace

import pytest
import typer

import pellucid.cli.run
import pellucid.demo
from pellucid.cli.demo import demo
from pellucid.cli.progress import RunProgress
from pellucid.demo import DemoFolderTaken, prepare
from pellucid.domain.policy import SitePolicy
from pellucid.pipeline import RunSummary

INTERRUPTED = RunSummary(run_id="r", completed=False, scored=0, failed=0, known=0, left=3, tiles=0, seconds=1.0)


@pytest.mark.parametrize("policy", [SitePolicy(name="demo"), None], ids=["in its run", "in its certification"])
def test_an_interrupted_demo_ends_as_interrupted_and_claims_nothing(
    policy: SitePolicy | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    nothing = SimpleNamespace(specimens=(), index=tmp_path / "index.html")
    for name in ("make_cohort", "make_bundle", "unseen"):
        monkeypatch.setattr(pellucid.demo, name, lambda *_, **__: None)
    monkeypatch.setattr(pellucid.demo, "make_policy", lambda *_, **__: policy)
    monkeypatch.setattr(pellucid.cli.run, "open_bundle", lambda *_: None)
    monkeypatch.setattr(pellucid.cli.run, "carry_out", lambda *_: (INTERRUPTED, nothing))
    with pytest.raises(typer.Exit) as ended:
        demo(out=tmp_path / "demo", seed=0, small=True)
    assert ended.value.exit_code == pellucid.cli.run.EXIT_INTERRUPTED
    said = capsys.readouterr()
    assert ("interrupted, 3 scans wait" in said.out) == (policy is not None)
    assert "Done." not in said.err


def test_a_former_demo_is_replaced_even_where_its_deletion_was_cut_short(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "demo"
    prepare(root)
    for name in ("a", "b"):
        (root / name).mkdir()
        (root / name / "file").write_text("old")

    def cut_short(_path: Path) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(pellucid.demo.shutil, "rmtree", cut_short)
        with pytest.raises(KeyboardInterrupt):
            prepare(root)
    prepare(root)
    assert [path.name for path in root.iterdir()] == ["PELLUCID-DEMO.txt"]


def test_a_file_in_the_demo_s_place_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "demo").write_text("mine")
    with pytest.raises(DemoFolderTaken):
        prepare(tmp_path / "demo")
    assert (tmp_path / "demo").read_text() == "mine"


def test_the_time_left_is_never_negative(capsys: pytest.CaptureFixture[str]) -> None:
    with RunProgress() as progress:
        progress.queued(1, 0)
        for name in ("F-1", "F-2"):
            progress.started(name)
            progress.ended(name, None, "PEL-SLIDE-001")
    assert "about 0 s left" in capsys.readouterr().err.splitlines()[-1]
