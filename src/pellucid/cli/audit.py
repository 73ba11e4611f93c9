"""`pellucid audit`: check the audit trail, and copy it out."""

import json
from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(no_args_is_help=True, help="Verify and export the audit trail.")

_Database = Annotated[str | None, typer.Option("--db", help="The records: a path or an SQLAlchemy URL.")]
_RunFolder = Annotated[Path | None, typer.Option("--out", help="Or the output folder of `pellucid run`.")]
_Json = Annotated[bool, typer.Option("--json", help="Answer as JSON.")]


@app.command()
def verify(
    db: _Database = None,
    out: _RunFolder = None,
    expect_head: Annotated[
        str | None, typer.Option(metavar="SEQ:LEAF", help="A head noted earlier: shows whether events were cut off.")
    ] = None,
    as_json: _Json = False,
) -> None:
    """Check every event and every recorded row; ends with 1 and the first broken event where something was changed."""
    from pellucid.core.serial import to_plain
    from pellucid.records import LIMITS, open_records, parse_head

    expected = None if expect_head is None else parse_head(expect_head)
    with open_records(_database(db, out), create=False) as records:
        report = records.verify_audit(expect_head=expected)
    if as_json:
        typer.echo(json.dumps({"ok": report.ok, **to_plain(report), "limits": LIMITS}, indent=2))
    else:
        _show(report.n_events, report.n_rows, str(report.head), [problem.detail for problem in report.problems])
        typer.echo(LIMITS)
    if not report.ok:
        raise typer.Exit(1)


@app.command()
def export(
    to: Annotated[Path, typer.Option("--to", help="The folder to write `audit.jsonl` and `audit-head.json` into.")],
    db: _Database = None,
    out: _RunFolder = None,
    as_json: _Json = False,
) -> None:
    """Copy the whole trail, each event's bytes as hashed; the export is itself an event."""
    from pellucid.records import open_records
    from pellucid.records.audit_export import export_trail

    with open_records(_database(db, out), create=False) as records:
        head = export_trail(records, to)
    if as_json:
        typer.echo(json.dumps({"folder": str(to), "seq": head.seq, "leaf": head.leaf}, indent=2))
    else:
        typer.echo(f"{head.seq} events are in {to}. Head: {head}")


def _database(db: str | None, out: Path | None) -> str | Path:
    """The one database that is meant."""
    from pellucid.records import DATABASE_NAME

    if (db is None) == (out is None):
        raise typer.BadParameter("give --db or --out, one of them")
    return out / DATABASE_NAME if out is not None else str(db)


def _show(n_events: int, n_rows: int, head: str, problems: list[str]) -> None:
    typer.echo(f"{n_events} events, {n_rows} recorded rows. Head: {head}")
    if not problems:
        typer.secho("The trail and the rows it tells of are as they were written.", fg=typer.colors.GREEN)
        return
    typer.secho(f"BROKEN: {problems[0]}", fg=typer.colors.RED)
    for problem in problems[1:20]:
        typer.echo(f"  also: {problem}")
    if len(problems) > 20:
        typer.echo(f"  and {len(problems) - 20} more (--json lists all)")
