"""Settings: the environment over the file over the defaults, and a wrong key is told the right one."""

import re
import subprocess
import sys
import tomllib
from dataclasses import fields
from pathlib import Path

import pytest

from pellucid.core.errors import SettingsInvalid, SettingsMissing
from pellucid.core.settings import Settings, SettingsExist, load_settings, template, write_template


def _load(folder: Path, text: str | None = None, **environ: str) -> Settings:
    if text is not None:
        (folder / "pellucid.toml").write_text(text)
    return load_settings(folder=folder, environ=environ)


def test_without_a_file_the_defaults_hold(tmp_path: Path) -> None:
    assert _load(tmp_path) == Settings()


def test_every_setting_can_be_given_in_the_file(tmp_path: Path) -> None:
    settings = _load(
        tmp_path,
        """
        site = "north"
        trusted_keys = ["keys", "/etc/maker.pub"]
        policy_keys = ["own"]
        policy = "policy.json"
        keep_bags = true
        threads = 3
        log_level = "Debug"
        metrics_port = 9464
        database = "sqlite:///records.sqlite"
        """,
    )
    assert settings == Settings(
        site="north",
        trusted_keys=(tmp_path / "keys", Path("/etc/maker.pub")),
        policy_keys=(tmp_path / "own",),
        policy=tmp_path / "policy.json",
        keep_bags=True,
        threads=3,
        log_level="debug",
        metrics_port=9464,
        database="sqlite:///records.sqlite",
    )


def test_every_setting_can_be_given_in_the_environment_which_wins(tmp_path: Path) -> None:
    settings = _load(
        tmp_path,
        'site = "north"\nkeep_bags = false\nthreads = 1\ntrusted_keys = ["other"]',
        PELLUCID_SITE="south",
        PELLUCID_TRUSTED_KEYS="keys:/etc/maker.pub",
        PELLUCID_POLICY_KEYS="own",
        PELLUCID_POLICY="/srv/policy.json",
        PELLUCID_KEEP_BAGS="yes",
        PELLUCID_THREADS="8",
        PELLUCID_LOG_LEVEL="warning",
        PELLUCID_METRICS_PORT="9000",
        PELLUCID_DATABASE="postgresql://db/pellucid",
        HOME="elsewhere",
    )
    assert settings == Settings(
        site="south",
        trusted_keys=(tmp_path / "keys", Path("/etc/maker.pub")),
        policy_keys=(tmp_path / "own",),
        policy=Path("/srv/policy.json"),
        keep_bags=True,
        threads=8,
        log_level="warning",
        metrics_port=9000,
        database="postgresql://db/pellucid",
    )


def test_a_named_file_wins_over_the_one_lying_here(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "site.toml").write_text('site = "named"\ntrusted_keys = ["keys"]')
    (tmp_path / "pellucid.toml").write_text('site = "here"')
    named = load_settings(tmp_path / "sub" / "site.toml", folder=tmp_path, environ={})
    by_variable = load_settings(folder=tmp_path, environ={"PELLUCID_CONFIG": "sub/site.toml"})
    assert named == by_variable
    assert named.site == "named"
    assert named.trusted_keys == (tmp_path / "sub" / "keys",)


def test_a_named_file_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(SettingsMissing, match=r"absent\.toml"):
        load_settings(tmp_path / "absent.toml", folder=tmp_path, environ={})
    with pytest.raises(SettingsMissing, match="directory"):
        load_settings(tmp_path, folder=tmp_path, environ={})


@pytest.mark.parametrize(
    ("wrong", "right"),
    [("trustd_keys", "trusted_keys"), ("Site", "site"), ("metrics-port", "metrics_port"), ("thread", "threads")],
)
def test_an_unknown_setting_is_told_the_right_one(tmp_path: Path, wrong: str, right: str) -> None:
    with pytest.raises(SettingsInvalid, match=re.escape(f"{wrong} (did you mean {right}?)")):
        _load(tmp_path, f"{wrong} = 1")


def test_an_unknown_setting_like_no_other_is_told_them_all(tmp_path: Path) -> None:
    with pytest.raises(SettingsInvalid) as caught:
        _load(tmp_path, "zzzz = 1")
    assert all(field.name in caught.value.message for field in fields(Settings))


def test_an_unknown_variable_is_told_the_right_one(tmp_path: Path) -> None:
    with pytest.raises(SettingsInvalid, match=re.escape("PELLUCID_TREADS (did you mean PELLUCID_THREADS?)")):
        _load(tmp_path, PELLUCID_TREADS="2")


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("site = 3", "site must be a name, not 3"),
        ('site = " "', "site must be a name"),
        ('trusted_keys = "keys"', "trusted_keys must be a list of paths, not 'keys'"),
        ("trusted_keys = [1]", "trusted_keys must be a list of paths"),
        ('policy_keys = "own"', "policy_keys must be a list of paths, not 'own'"),
        ('policy = ["policy.json"]', "policy must be a path"),
        ('policy = ""', "policy must be a path, not ''"),
        ('keep_bags = "yes"', "keep_bags must be true or false, not 'yes'"),
        ("keep_bags = 1", "keep_bags must be true or false, not 1"),
        ("threads = 0", "threads must be a whole number from 1 to 1024, not 0"),
        ("threads = true", "threads must be a whole number"),
        ("threads = 1.5", "threads must be a whole number"),
        ('log_level = "loud"', "log_level must be one of debug, info, warning, error, not 'loud'"),
        ("metrics_port = 70000", "metrics_port must be a port from 1 to 65535, not 70000"),
        ("[site]\nname = 1", "site must be a name"),
    ],
)
def test_a_wrong_value_names_the_setting_and_what_it_expects(tmp_path: Path, line: str, expected: str) -> None:
    with pytest.raises(SettingsInvalid, match=re.escape(expected)) as caught:
        _load(tmp_path, line)
    assert "pellucid.toml" in caught.value.message


@pytest.mark.parametrize(
    ("variable", "text"),
    [("PELLUCID_KEEP_BAGS", "perhaps"), ("PELLUCID_THREADS", "many"), ("PELLUCID_METRICS_PORT", "0")],
)
def test_a_wrong_variable_is_named(tmp_path: Path, variable: str, text: str) -> None:
    with pytest.raises(SettingsInvalid, match=f"{variable} must be .*, not '{text}'"):
        _load(tmp_path, **{variable: text})


def test_all_problems_are_reported_together(tmp_path: Path) -> None:
    with pytest.raises(SettingsInvalid) as caught:
        _load(tmp_path, 'sites = 1\nthreads = "x"', PELLUCID_LOG_LEVEL="loud")
    assert caught.value.context["problems"] == 3
    for name in ("sites", "threads", "PELLUCID_LOG_LEVEL"):
        assert name in caught.value.message


@pytest.mark.parametrize("data", [b"site = ", b"\xff\xfe", b"site = 1\nsite = 2"])
def test_what_is_no_toml_is_refused(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "pellucid.toml").write_bytes(data)
    with pytest.raises(SettingsInvalid, match="not a TOML file"):
        _load(tmp_path)


def test_a_database_password_is_never_shown(tmp_path: Path) -> None:
    assert "secret" not in repr(_load(tmp_path, PELLUCID_DATABASE="postgresql://me:secret@db/p"))
    with pytest.raises(SettingsInvalid) as caught:
        _load(tmp_path, 'database = ["postgresql://me:secret@db/p"]')
    assert "secret" not in str(caught.value)


def test_the_example_explains_every_setting_and_changes_none(tmp_path: Path) -> None:
    write_template(tmp_path / "pellucid.toml")
    assert load_settings(folder=tmp_path, environ={}) == Settings()
    examples = [line for line in template().splitlines() if re.match(r"# \w+ = ", line)]
    assert [line.split()[1] for line in examples] == [field.name for field in fields(Settings)]


def test_the_examples_are_values_that_can_be_used(tmp_path: Path) -> None:
    used = "\n".join(re.sub(r"^# (?=\w+ = )", "", line) for line in template().splitlines())
    assert tomllib.loads(used)
    _load(tmp_path, used)


def test_the_example_overwrites_nothing(tmp_path: Path) -> None:
    (tmp_path / "pellucid.toml").write_text("precious")
    with pytest.raises(SettingsExist):
        write_template(tmp_path / "pellucid.toml")
    assert (tmp_path / "pellucid.toml").read_text() == "precious"


def test_settings_are_read_without_anything_slow() -> None:
    script = (
        "import sys; from pellucid.core.settings import load_settings; load_settings(environ={})\n"
        "print([name for name in ('pydantic', 'numpy', 'torch') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
