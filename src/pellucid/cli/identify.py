"""`pellucid identify PSEUDONYM`: back from a page to the site's own name; each look-up is an audit event."""

import getpass
from pathlib import Path
from typing import Annotated

import typer


def identify(
    pseudonym: Annotated[str, typer.Argument(help="Such as S-7K3QW9TD, from a page or table.")],
    out: Annotated[Path, typer.Option("--out", help="The run's output folder.")] = Path("out"),
    database: Annotated[str | None, typer.Option("--db", help="Database URL or path instead of --out.")] = None,
) -> None:
    """Tell which specimen, case or scan a pseudonym stands for. The look-up is recorded in the audit trail."""
    from pellucid.pipeline.errors import SpecimenUnknown
    from pellucid.records import DATABASE_NAME, open_records

    with open_records(database or out / DATABASE_NAME, create=False) as records:
        found = records.identify(pseudonym, actor=f"user:{getpass.getuser()}")
    if found is None:
        raise SpecimenUnknown(f"{pseudonym} is no pseudonym of these records.")
    kind, identifier = found
    typer.echo(f"{kind}  {identifier}")
