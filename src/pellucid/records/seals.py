"""Seals of rows: what an audit event says of a row's content without telling it."""

import hmac
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, Table, literal_column, select


@dataclass(frozen=True, slots=True)
class Seal:
    """The keyed digest of one row as it was written; `digest` is 64 hexadecimal digits."""

    table: str
    id: int
    digest: str

    def to_plain(self) -> dict[str, Any]:
        """As it stands in an event."""
        return {"table": self.table, "id": self.id, "hmac": self.digest}


def seal_row(connection: Connection, salt: bytes, table: Table, row_id: int) -> Seal:
    """The seal of a row as the database holds it."""
    row = connection.execute(raw_select(table).where(table.c.id == row_id)).mappings().one()
    return Seal(table.name, row_id, row_digest(salt, table.name, dict(row)))


def raw_select(table: Table) -> Select[Any]:
    """All columns as the database holds them: a value of the wrong type, which an edit can leave, is still read."""
    columns: list[ColumnElement[Any]] = [literal_column(column.name) for column in table.columns]
    return select(*columns).select_from(table)


def row_digest(salt: bytes, table: str, row: Mapping[str, Any]) -> str:
    """HMAC-SHA256 under the site's salt over a row's columns.

    Keyed, because a row with a name in it could be guessed from a plain digest in an exported trail. Columns that are
    NULL are left out, so that a column which a later migration adds leaves earlier seals valid.
    """
    state = hmac.new(salt, _frame(table.encode()), "sha256")
    for name in sorted(row):
        if row[name] is not None:
            state.update(_frame(name.encode()) + _frame(_encode(row[name])))
    return state.hexdigest()


def _frame(data: bytes) -> bytes:
    return len(data).to_bytes(8, "big") + data


def _encode(value: Any) -> bytes:
    match value:
        case int():
            return b"i" + str(value).encode()
        case float():
            return b"f" + struct.pack(">d", value)
        case str():
            return b"s" + value.encode("utf-8", "surrogatepass")
        case bytes():
            return b"b" + value
        case _:
            # Only an edit past the software can put such a value there; its seal then differs, as it should.
            return b"?" + repr(value).encode()
