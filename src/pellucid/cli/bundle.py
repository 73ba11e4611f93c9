"""`pellucid bundle`: look at a model bundle, and verify it."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from pellucid.bundle import Bundle
    from pellucid.domain.tumour import TumourHead
    from pellucid.domain.tuning import PatientDigests

app = typer.Typer(no_args_is_help=True, help="Model bundles: what they hold and whether they can be trusted.")

_Folder = Annotated[Path, typer.Argument(help="The bundle's folder.")]
_Key = Annotated[
    list[Path] | None, typer.Option("--trust", help="Trust this public key, or folder of keys, besides the settings'.")
]
_Config = Annotated[Path | None, typer.Option("--config", help="Settings file; pellucid.toml here where omitted.")]
_Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.command()
def show(folder: _Folder, key: _Key = None, config: _Config = None, as_json: _Json = False) -> None:
    """Say what a bundle holds, once it is verified."""
    bundle = _load(folder, key, config)
    facts = _describe(bundle)
    if as_json:
        typer.echo(json.dumps(facts | {"model_card": bundle.model_card}, indent=2))
        return
    _print_facts(facts)
    typer.echo(f"\n{bundle.model_card.rstrip()}")


@app.command()
def verify(
    folder: _Folder,
    key: _Key = None,
    config: _Config = None,
    golden: Annotated[
        bool, typer.Option("--golden", help="Also run the model and reproduce its golden checks (needs torch).")
    ] = False,
    as_json: _Json = False,
) -> None:
    """Check every file, the signature and the model digest; fails with the first thing that is wrong."""
    bundle = _load(folder, key, config)
    if golden:
        bundle.check_golden()
    checked = ["files", "signature", "model digest", *(["golden checks"] if golden else [])]
    if as_json:
        typer.echo(json.dumps(_describe(bundle) | {"verified": checked}, indent=2))
        return
    typer.echo(f"{bundle.name}: verified ({', '.join(checked)})")
    _print_facts(_describe(bundle))


def _load(folder: Path, keys: list[Path] | None, config: Path | None) -> "Bundle":
    from pellucid.bundle import load_bundle, load_trusted_keys
    from pellucid.core.settings import load_settings

    return load_bundle(folder, load_trusted_keys([*(keys or ()), *load_settings(config).trusted_keys]))


def _describe(bundle: "Bundle") -> dict[str, Any]:
    manifest, spec = bundle.manifest, bundle.spec
    return {
        "name": bundle.name,
        "synthetic": bundle.synthetic,
        "intended_use": manifest.intended_use,
        "licence": manifest.licence,
        "created": manifest.created,
        "software_version": manifest.software_version,
        "bundle_digest": bundle.digest,
        "model_digest": bundle.model_digest,
        "signed_by": f"{bundle.signed_by.key_id} ({bundle.signed_by.name})",
        "encoder": f"{spec.id}, {spec.tile_px} px at {spec.mpp} um/px, {spec.dim} features",
        "passes": bundle.calibration.n_passes,
        "temperature": bundle.calibration.temperature,
        "reference_specimens": bundle.reference.n_specimens,
        "ensemble_heads": bundle.ensemble_size,
        "tumour_head": _tumour_head(bundle.tumour),
        "patients": _patients(bundle.patients),
        "tuning_specimens": len(bundle.tuning),
        "provenance": manifest.provenance,
    }


def _tumour_head(head: "TumourHead | None") -> str:
    if head is None:
        return "none"
    ranking = "not computable" if head.auroc is None else f"{head.auroc:.3f}"
    return (
        f"a scan needs {head.limit:.1%} tumour tiles (probability {head.threshold:g} or more); "
        f"fitted on {head.n_tiles} tiles, AUROC on the tuning split's {ranking}"
    )


def _patients(digests: "PatientDigests | None") -> str:
    if digests is None:
        return "not stated"
    return f"{len(digests.training)} training, {len(digests.tuning)} tuning (digests only)"


def _print_facts(facts: dict[str, Any]) -> None:
    if facts["synthetic"]:
        typer.secho("SYNTHETIC: no real scan is decided under this bundle.", fg="yellow")
    for name, value in facts.items():
        shown = ", ".join(f"{key}={text}" for key, text in value.items()) if isinstance(value, dict) else value
        typer.echo(f"{name.replace('_', ' '):22}{shown}")
