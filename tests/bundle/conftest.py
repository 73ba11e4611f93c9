import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from pellucid.bundle import SigningKey


@pytest.fixture
def bundle_folder(pristine: Path, tmp_path: Path) -> Path:
    """A good bundle of one's own to spoil."""
    return Path(shutil.copytree(pristine, tmp_path / "bundle"))


@pytest.fixture
def resign() -> Callable[..., None]:
    """Edits a bundle's manifest and signs it again, as a careless or hostile holder of a key could."""
    return _resign


def _resign(folder: Path, key: SigningKey, edit: Callable[[dict], None] = lambda plain: None) -> None:
    import json

    from pellucid.bundle.signature import sign_manifest
    from pellucid.core.digests import canonical_json, digest_file

    plain = json.loads((folder / "manifest.json").read_bytes())
    for name, entry in plain["files"].items():
        entry["sha256"] = digest_file(folder / name)
        entry["size"] = (folder / name).stat().st_size
    edit(plain)
    data = canonical_json(plain)
    (folder / "manifest.json").write_bytes(data)
    (folder / "signature.json").write_bytes(sign_manifest(data, key))
