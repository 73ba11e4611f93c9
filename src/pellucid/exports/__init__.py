"""Floor 6: results as tables for other programs. No torch, no database."""

from pellucid.exports.geojson import write_attention_geojson
from pellucid.exports.rows import Belief, Licence, Origin, ScanRow, SpecimenRow
from pellucid.exports.schema import SCHEMA_VERSION, scan_schema, specimen_schema
from pellucid.exports.tables import write_results

__all__ = [
    "SCHEMA_VERSION",
    "Belief",
    "Licence",
    "Origin",
    "ScanRow",
    "SpecimenRow",
    "scan_schema",
    "specimen_schema",
    "write_attention_geojson",
    "write_results",
]
