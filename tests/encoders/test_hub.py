"""Weights come from the hub only when asked for, at one commit; without a hub that is said, and how to go on."""

import http.server
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from pellucid.encoders import HubUnreachable, RevisionUnpinned, encoder_entry
from pellucid.encoders.hub import fetch_weights

COMMIT = "0123456789abcdef0123456789abcdef01234567"
FETCH = (
    "import sys\nfrom pathlib import Path\n"
    "from pellucid.core.errors import PellucidError\nfrom pellucid.encoders import encoder_entry\n"
    "from pellucid.encoders.hub import fetch_weights\n"
    "try: print(fetch_weights(encoder_entry('gigapath'), Path(sys.argv[1]), revision=sys.argv[2]))\n"
    "except PellucidError as error: print(error.code, error.message); print(error.remedy)"
)


def fetch(folder: Path, **environment: str) -> str:
    """Ask the hub in a process of its own, as its client reads its settings once."""
    done = subprocess.run(
        [sys.executable, "-c", FETCH, str(folder), COMMIT],
        capture_output=True,
        text=True,
        check=True,
        env={"HF_HOME": str(folder / "home"), "PATH": "/usr/bin:/bin", "HF_HUB_DISABLE_XET": "1", **environment},
        timeout=300,
    )
    return done.stdout


class _Hub(http.server.BaseHTTPRequestHandler):
    """A hub that has one file at one commit, or refuses it as the true one refuses gated files."""

    gated = False
    asked: list[str]

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def do_GET(self) -> None:
        self._answer(body=True)

    def _answer(self, *, body: bool) -> None:
        type(self).asked.append(self.path)
        content = b"weights"
        refused = self.gated
        found = self.path == f"/prov-gigapath/prov-gigapath/resolve/{COMMIT}/pytorch_model.bin"
        self.send_response(403 if refused else 200 if found else 404)
        if refused:
            self.send_header("X-Error-Code", "GatedRepo")
        self.send_header("X-Repo-Commit", COMMIT)
        self.send_header("ETag", '"e7a9"')
        self.send_header("Content-Length", str(len(content) if found and not refused else 0))
        self.end_headers()
        if body and found and not refused:
            self.wfile.write(content)

    def log_message(self, *_arguments: object) -> None:
        pass


@pytest.fixture(params=[False, True], ids=["open", "gated"])
def hub(request: pytest.FixtureRequest) -> Iterator[tuple[str, type[_Hub]]]:
    handler = type("Hub", (_Hub,), {"gated": request.param, "asked": []})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}", handler
        server.shutdown()
        thread.join()


def test_the_file_of_the_pinned_commit_is_fetched_or_refused(hub: tuple[str, type[_Hub]], tmp_path: Path) -> None:
    address, handler = hub
    said = fetch(tmp_path, HF_ENDPOINT=address)

    # newer clients also ask the hub for things that are about no model
    asked = [path for path in handler.asked if "prov-gigapath" in path]
    assert asked
    assert all(f"/resolve/{COMMIT}/" in path for path in asked)
    if handler.gated:
        assert said.startswith("PEL-MODEL-016")
        assert "Ask for access" in said
        assert not (tmp_path / "pytorch_model.bin").exists()
    else:
        assert (tmp_path / "pytorch_model.bin").read_bytes() == b"weights"


def test_without_a_network_the_way_round_is_named(tmp_path: Path) -> None:
    said = fetch(tmp_path, HF_HUB_OFFLINE="1")
    assert said.startswith("PEL-MODEL-015 pytorch_model.bin of prov-gigapath/prov-gigapath at 0123456789ab can't be")
    assert "copy it here, and give it with --weights" in said


@pytest.mark.parametrize("revision", ["", "main", "0123abc"])
def test_a_branch_is_no_revision(tmp_path: Path, revision: str) -> None:
    with pytest.raises(RevisionUnpinned):
        fetch_weights(encoder_entry("gigapath"), tmp_path, revision=revision)


def test_a_row_that_is_pinned_takes_no_other_commit(tmp_path: Path) -> None:
    pinned = replace(encoder_entry("gigapath"), revision="a" * 40)
    with pytest.raises(RevisionUnpinned, match="is pinned to aaaa"):
        fetch_weights(pinned, tmp_path, revision=COMMIT)


def test_what_is_on_no_hub_is_not_asked_for(tmp_path: Path) -> None:
    with pytest.raises(HubUnreachable, match="in no repository"):
        fetch_weights(encoder_entry("efficientnet-lite0"), tmp_path, revision=COMMIT)


def test_nothing_that_loads_or_runs_an_encoder_imports_the_hub_s_client() -> None:
    """timm brings the client with it, but not before a network of its is built; and none asks it for anything."""
    code = (
        "import sys, pellucid.encoders.published, pellucid.encoders.tile_encoder, pellucid.engine.device\n"
        "sys.exit('huggingface_hub' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
