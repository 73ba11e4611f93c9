import io
import json
import logging
import subprocess
import sys
from datetime import datetime
from pathlib import Path

import numpy as np
import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from pellucid.core.errors import StorageFull
from pellucid.core.telemetry import logs


@pytest.fixture(autouse=True)
def restored():
    yield
    logs.clear()
    logs.configure_logging(console=None)
    structlog.reset_defaults()


@pytest.fixture
def lines(tmp_path):
    file = tmp_path / "logs" / "pellucid.jsonl"
    logs.configure_logging(file=file, console=None, level="debug")
    return lambda: [json.loads(line) for line in file.read_text().splitlines()]


def test_a_line_has_time_level_event_and_room(lines):
    logs.get_logger("slides").info("scan opened", tiles=np.int64(12), share=np.float32(0.5))

    (line,) = lines()
    assert line | {"timestamp": ""} == {
        "timestamp": "",
        "level": "info",
        "event": "scan opened",
        "room": "slides",
        "tiles": 12,
        "share": 0.5,
    }
    assert datetime.fromisoformat(line["timestamp"]).utcoffset().total_seconds() == 0


def test_run_and_scan_are_on_every_line_while_bound(lines):
    log = logs.get_logger("pipeline")
    logs.bind(run_id="r1")
    with logs.bound(scan="ab" * 32):
        log.info("read")
    log.info("between")
    logs.clear()
    log.info("after")

    assert [(line.get("run_id"), line.get("scan")) for line in lines()] == [
        ("r1", "ab" * 32),
        ("r1", None),
        (None, None),
    ]


def test_what_was_bound_is_restored_when_the_block_fails(lines):
    with pytest.raises(KeyError), logs.bound(scan="s1"):
        raise KeyError("x")
    logs.get_logger("pipeline").info("after")

    assert "scan" not in lines()[0]


def test_levels_below_the_chosen_one_are_left_out(tmp_path):
    logs.configure_logging(file=tmp_path / "log", console=None, level="warning")
    log = logs.get_logger("a")
    log.info("no")
    log.warning("yes")

    assert [json.loads(line)["event"] for line in (tmp_path / "log").read_text().splitlines()] == ["yes"]


def test_an_unknown_level_is_refused():
    with pytest.raises(ValueError, match="debug, info"):
        logs.configure_logging(level="loud")


@pytest.mark.parametrize("key", ["patient", "case", "label_image", "path", "Filename"])
def test_private_keys_are_withheld(lines, key):
    logs.get_logger("a").info("x", **{key: "Jane Doe"}, nested={key: ["Jane Doe"]})

    assert "Doe" not in json.dumps(lines())


@pytest.mark.parametrize(
    "text",
    [
        "can't read /data/Doe, Jane.svs",
        "can't read '/data/wsi/Doe Jane 1960/slide 1.svs' at all",
        'opening "C:\\scans\\Doe Jane\\a.ndpi" failed',
        "opening C:\\scans\\Doe.ndpi failed",
        "opening \\\\server\\share\\Doe today",
        "see ~/Doe/scan",
        "file:///srv/Doe.tiff",
        "Doe.svs is empty",
        "'Doe Jane.dcm' is no slide",
        "path=/srv/Doe/x",
    ],
)
def test_paths_and_slide_names_are_replaced(lines, text):
    logs.get_logger("a").info(text, note=text, several=[text], at=Path("Doe"))

    assert "Doe" not in json.dumps(lines())
    assert "<path>" in lines()[0]["event"]


@pytest.mark.parametrize(
    "text",
    [
        "0.5 um/px is too coarse (limit: 0.25 um/px)",
        "H&E and/or IHC",
        "3/4 tiles, 1.5e-3 s/tile",
        "https",
        "PEL-SLIDE-003",
    ],
)
def test_ordinary_sentences_are_left_as_they_are(text):
    assert logs.redact(text) == text


@given(st.text(alphabet=st.characters(exclude_characters="'\"`\n,;", exclude_categories=["Cc", "Cs"]), min_size=1))
def test_nothing_of_a_quoted_absolute_path_survives(name):
    assert logs.redact(f"can't open '/{name}' today") == "can't open <path> today"


def test_an_exception_is_structured_with_cause_and_without_locals_or_paths(lines, tmp_path):
    def read():
        secret = "Doe"
        try:
            (tmp_path / secret / "x").read_text()
        except OSError as error:
            raise StorageFull(f"No space for {secret}-slide.", path=Path("Doe-slide")) from error

    try:
        read()
    except StorageFull:
        logs.get_logger("a").exception("scan failed")

    (line,) = lines()
    outer, cause = line["exception"]
    assert line["level"] == "error"
    assert (outer["type"], outer["code"]) == ("StorageFull", "PEL-CORE-001")
    assert outer["remedy"]
    assert cause["type"] == "FileNotFoundError"
    assert outer["frames"][-1]["function"].endswith("read")
    assert isinstance(outer["frames"][-1]["line"], int)
    assert "Doe" not in json.dumps(line)


def test_a_chain_that_ends_in_itself_ends(lines):
    error = ValueError("a")
    error.__context__ = KeyError("b")
    error.__context__.__context__ = error

    logs.get_logger("a").error("x", exc_info=error)

    assert [one["type"] for one in lines()[0]["exception"]] == ["ValueError", "KeyError"]


def test_text_for_people_is_one_short_line():
    stream = io.StringIO()
    logs.configure_logging(console="text", stream=stream)

    logs.get_logger("slides").warning("scan is blurred", scan="ab" * 32, share=0.25)

    assert stream.getvalue()[9:] == "warning  scan is blurred  room=slides scan=abababababab share=0.25\n"


def test_text_for_people_shows_an_exception_and_where_it_was_raised():
    stream = io.StringIO()
    logs.configure_logging(console="text", stream=stream)
    try:
        raise KeyError("x")
    except KeyError:
        logs.get_logger("a").exception("failed")

    assert "KeyError: 'x'" in stream.getvalue()
    assert "test_text_for_people_shows_an_exception" in stream.getvalue()


def test_json_on_the_console_and_in_the_file_are_the_same_line(tmp_path):
    stream = io.StringIO()
    logs.configure_logging(file=tmp_path / "log", console="json", stream=stream)

    logs.get_logger("a").info("x", n=1)

    assert stream.getvalue() == (tmp_path / "log").read_text()


def test_warnings_of_other_libraries_are_lines_too(lines):
    logging.getLogger("tifffile").warning("odd tag in %s", "/data/Doe.tif")
    logging.getLogger("tifffile").info("chatter")

    (line,) = lines()
    assert (line["room"], line["level"], line["event"]) == ("tifffile", "warning", "odd tag in <path>")


def test_lines_are_appended_to_an_existing_file(tmp_path):
    for event in ("first", "second"):
        logs.configure_logging(file=tmp_path / "log", console=None)
        logs.get_logger("a").info(event)

    assert [json.loads(line)["event"] for line in (tmp_path / "log").read_text().splitlines()] == ["first", "second"]


def test_lines_of_several_processes_stay_whole(tmp_path):
    program = (
        "import sys; from pathlib import Path; from pellucid.core.telemetry import logs\n"
        "logs.configure_logging(file=Path(sys.argv[1]), console=None)\n"
        "log = logs.get_logger('a')\n"
        "for number in range(200): log.info('x' * 3000, number=number)"
    )
    running = [subprocess.Popen([sys.executable, "-c", program, str(tmp_path / "log")]) for _ in range(2)]
    assert [process.wait(timeout=60) for process in running] == [0, 0]

    lines = (tmp_path / "log").read_text().splitlines()
    assert len(lines) == 400
    assert all(json.loads(line)["event"] == "x" * 3000 for line in lines)


def test_a_full_disk_is_said_once_and_ends_nothing(capsys):
    logs.configure_logging(file=Path("/dev/full"), console=None)
    log = logs.get_logger("a")
    log.info("one")
    log.info("two")

    assert capsys.readouterr().err == "The log file can't be written: No space left on device.\n"


def test_without_configuration_only_warnings_are_written_and_to_standard_error(capsys):
    structlog.reset_defaults()
    log = logs.get_logger("a")
    log.info("quiet")
    log.warning("heard")

    captured = capsys.readouterr()
    assert captured.out == ""
    assert "heard" in captured.err
    assert "quiet" not in captured.err


def test_importing_the_module_does_not_import_structlog():
    program = "import sys, pellucid.core.telemetry.logs; sys.exit('structlog' in sys.modules)"

    assert subprocess.run([sys.executable, "-c", program], timeout=60).returncode == 0


def test_what_is_true_of_the_whole_process_is_on_the_lines_of_every_thread(tmp_path: Path) -> None:
    import threading

    logs.configure_logging(file=tmp_path / "log.jsonl", console=None)
    with logs.everywhere(run_id="r1"):
        thread = threading.Thread(target=lambda: logs.get_logger("engine").info("from a thread"))
        thread.start()
        thread.join()
    logs.get_logger("engine").info("after it")
    lines = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert [line.get("run_id") for line in lines] == ["r1", None]
