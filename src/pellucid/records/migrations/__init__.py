"""Migrations of the records, run by `pellucid.records.schema`."""
