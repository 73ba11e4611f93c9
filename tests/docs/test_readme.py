"""The README's Python examples run as they stand there."""

import re
from pathlib import Path

import pytest

EXAMPLES = re.findall(r"```python\n(.*?)```", (Path(__file__).parents[2] / "README.md").read_text(), re.DOTALL)


def test_the_readme_has_examples() -> None:
    assert len(EXAMPLES) >= 2


@pytest.mark.slow
@pytest.mark.parametrize("number", range(len(EXAMPLES)))
def test_an_example_runs(number: int, demo_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    slide = next(iter(sorted((demo_folder / "cohort" / "slides").glob("*.svs"))))
    exec(compile(EXAMPLES[number], f"README example {number}", "exec"), {"demo": demo_folder, "slide": slide})
    assert capsys.readouterr().out.strip()
