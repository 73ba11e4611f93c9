"""Alembic's entry: migrations run on the connection, and in the transaction, that the caller hands over."""

from alembic import context

from pellucid.records.tables import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    render_as_batch=True,
)
with context.begin_transaction():
    context.run_migrations()
