"""`pellucid policy`: read a site's policy, sign it, put it into force."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pellucid.domain.policy import Mode, SitePolicy

if TYPE_CHECKING:
    from pellucid.bundle import TrustedKey
    from pellucid.bundle.policies import SignedPolicy
    from pellucid.core.settings import Settings
    from pellucid.records import Records

app = typer.Typer(
    no_args_is_help=True, help="Site policies: what was certified, who signed it, which mode is in force."
)

_SIGNED_BY_HAND = ("approved", "certified")

_File = Annotated[Path, typer.Argument(help="The policy file.", show_default=False)]
_Keys = Annotated[
    list[Path] | None,
    typer.Option("--policy-key", help="Public key file or folder of the site's own, beside the settings'."),
]
_Key = Annotated[Path, typer.Option("--key", help="Your private key, one of the site's.")]
_Config = Annotated[Path | None, typer.Option("--config", help="Settings file; pellucid.toml here where omitted.")]
_Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.command()
def show(file: _File, policy_key: _Keys = None, config: _Config = None, as_json: _Json = False) -> None:
    """Say in plain words what a policy allows and on what grounds; ends with 1 where nobody trusted has signed it."""
    from pellucid.bundle.policies import read_policy, untrusted, warnings_of
    from pellucid.core.clock import utc_now

    keys = _trusted(_settings(config), policy_key)
    signed = read_policy(file, keys)
    warnings = list(warnings_of(signed.policy, today=utc_now()[:10]))
    if as_json:
        typer.echo(json.dumps(_plain(signed) | {"warnings": warnings}, indent=2))
    else:
        from pellucid.cli.policy_view import print_policy

        print_policy(signed, warnings)
    if not signed.is_trusted:
        raise untrusted(file, signed, keys)


@app.command()
def sign(
    file: _File,
    key: _Key,
    name: Annotated[str, typer.Option("--name", help="Your name, as it should stand beside the signature.")],
    meaning: Annotated[
        str, typer.Option("--meaning", help="What you say with it: approved or certified.")
    ] = "approved",
    out: Annotated[Path | None, typer.Option("--out", help="Where to write; FILE itself where omitted.")] = None,
    policy_key: _Keys = None,
    config: _Config = None,
    as_json: _Json = False,
) -> None:
    """Add your signature to a policy that somebody trusted, or you, signed before."""
    from pellucid.bundle import SigningKey
    from pellucid.bundle.policies import load_policy, write_policy

    if meaning not in _SIGNED_BY_HAND:
        raise typer.BadParameter(
            f"{meaning!r} is not one of {', '.join(_SIGNED_BY_HAND)}; `pellucid policy activate` puts into force",
            param_hint="--meaning",
        )
    own = SigningKey.load(key)
    signed = load_policy(file, [*_trusted(_settings(config), policy_key), own.trusted(name)])
    target = out or file
    written = write_policy(target, signed.policy, own, name=name, meaning=meaning, signatures=signed.signatures)
    if as_json:
        typer.echo(json.dumps({"file": str(target), "digest": written.digest, "key_id": own.key_id}, indent=2))
        return
    typer.echo(f"{target} is signed by {name} ({own.key_id}, {meaning}).")


@app.command()
def activate(
    file: _File,
    mode: Annotated[Mode, typer.Option("--mode", help="What is to happen with answers.")],
    by: Annotated[str, typer.Option("--by", help="Your name.")],
    reason: Annotated[str, typer.Option("--reason", help="Why. It goes into the audit trail: no patient's name.")],
    key: _Key,
    out: Annotated[Path, typer.Option("--out", help="Where the policy in force lies; it is replaced.")],
    prevalence: Annotated[
        float | None, typer.Option("--prevalence", help="The share of mutated specimens you expect, such as 0.15.")
    ] = None,
    autonomous_positive: Annotated[
        bool, typer.Option("--autonomous-positive", help="Also give positive answers without a person.")
    ] = False,
    records: Annotated[
        str | None, typer.Option("--records", help="The records: a run's output folder, a path or URL; else settings'.")
    ] = None,
    policy_key: _Keys = None,
    config: _Config = None,
    as_json: _Json = False,
) -> None:
    """Put a policy into force in a mode, under your name, and record that in the audit trail."""
    from pellucid.bundle import SigningKey
    from pellucid.bundle.policies import load_policy
    from pellucid.bundle.policy_errors import PolicyUntrusted
    from pellucid.cli.places import acting_user
    from pellucid.pipeline.activation import put_in_force

    settings = _settings(config)
    keys = _trusted(settings, policy_key)
    signed = load_policy(file, keys)
    own = SigningKey.load(key)
    if own.public not in {one.public for one in keys}:
        raise PolicyUntrusted(f"The key {own.key_id} is none that this site lists for policies.")
    with _records(settings, records) as opened:
        active = put_in_force(
            signed,
            out,
            opened,
            mode=mode,
            by=by,
            reason=reason,
            key=own,
            prevalence=prevalence,
            autonomous_positive=autonomous_positive,
            actor=acting_user(),
        )
    if as_json:
        typer.echo(json.dumps(_plain(active) | {"file": str(out), "replaces": signed.digest}, indent=2))
        return
    typer.echo(f"{out} holds the policy '{active.policy.name}' in the mode {mode.value}, signed by {by}.")
    if settings.policy is None or settings.policy.absolute() != out.absolute():
        typer.echo("It is used where the setting `policy` in pellucid.toml names it.")
    typer.echo("Research use only.")


def certificate_tables(policy: SitePolicy) -> None:
    """Print the certificates of a policy in plain words."""
    from pellucid.cli.policy_view import print_certificates

    print_certificates(policy)


def _settings(config: Path | None) -> "Settings":
    from pellucid.core.settings import load_settings

    return load_settings(config)


def _trusted(settings: "Settings", more: list[Path] | None) -> "tuple[TrustedKey, ...]":
    from pellucid.bundle import load_trusted_keys

    return load_trusted_keys([*(more or ()), *settings.policy_keys])


def _records(settings: "Settings", place: str | None) -> "Records":
    from pellucid.records import DATABASE_NAME, open_records

    found: str | Path | None = place or settings.database
    if found is None:
        raise typer.BadParameter("say where the records are: their audit trail tells of it", param_hint="--records")
    if "://" not in str(found) and Path(found).is_dir():
        found = Path(found) / DATABASE_NAME
    return open_records(found, create=False)


def _plain(signed: "SignedPolicy") -> dict[str, Any]:
    from pellucid.core.serial import to_plain

    return {
        "digest": signed.digest,
        "trusted": signed.is_trusted,
        "policy": to_plain(signed.policy),
        "signatures": [to_plain(one) | {"trusted": one.key_id in signed.verified} for one in signed.signatures],
    }
