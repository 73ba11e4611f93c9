"""Errors carry a code that never changes, a sentence and a remedy, across processes too."""

import importlib
import multiprocessing
import pickle
import pkgutil
import re
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import pytest

import pellucid
from pellucid.core.errors import PellucidError, SettingsInvalid, SettingsMissing, StorageFull, known_errors
from pellucid.core.settings import load_settings


def _all_error_modules() -> list[str]:
    names = [module.name for module in pkgutil.walk_packages(pellucid.__path__, "pellucid.")]
    return [name for name in names if name.endswith(".errors")]


def test_an_error_is_one_line_with_code_sentence_and_remedy() -> None:
    assert str(StorageFull("No space.", remedy="Free some.")) == "[PEL-CORE-001] No space. Free some."
    assert str(StorageFull("No space.", remedy="")) == "[PEL-CORE-001] No space."


def test_the_class_has_a_remedy_that_an_instance_may_better() -> None:
    assert SettingsInvalid("Wrong.").remedy == SettingsInvalid.remedy
    assert SettingsInvalid("Wrong.", remedy="This one.").remedy == "This one."


def test_an_error_comes_back_from_a_pickle_as_it_was() -> None:
    error = pickle.loads(pickle.dumps(StorageFull("No space.", remedy="Free some.", path="x")))
    assert type(error) is StorageFull
    assert (error.message, error.remedy, error.context) == ("No space.", "Free some.", {"path": "x"})


def test_an_error_crosses_from_a_real_child_process(tmp_path: Path) -> None:
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=spawn) as pool, pytest.raises(SettingsMissing) as caught:
        pool.submit(load_settings, tmp_path / "absent.toml").result()
    assert "absent.toml" in caught.value.message
    assert caught.value.remedy == SettingsMissing.remedy


@pytest.mark.parametrize("code", ["PEL-1", "pel-core-001", "PEL-CORE-1", "PEL-CORE-0001", "CORE-001"])
def test_a_code_of_another_form_is_refused(code: str) -> None:
    with pytest.raises(TypeError, match="no error code"):
        type("Other", (PellucidError,), {"code": code})


def test_two_errors_never_share_a_code() -> None:
    with pytest.raises(TypeError, match="share the code PEL-CORE-001"):
        type("Other", (PellucidError,), {"code": "PEL-CORE-001"})
    assert known_errors()["PEL-CORE-001"] is StorageFull


def test_a_kind_without_a_code_of_its_own_is_allowed() -> None:
    kind = type("Wider", (StorageFull,), {})
    assert kind("No space.").code == "PEL-CORE-001"


@pytest.mark.parametrize("name", _all_error_modules())
def test_every_error_of_every_room_has_a_remedy_and_says_what_it_is(name: str) -> None:
    module = importlib.import_module(name)
    kinds = [kind for kind in known_errors().values() if kind.__module__ == module.__name__]
    assert kinds
    for kind in kinds:
        assert re.fullmatch(r"[A-Z].*\.", kind.remedy), f"{kind.__name__}: {kind.remedy!r}"
        assert kind.__doc__
