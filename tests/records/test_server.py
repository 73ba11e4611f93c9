"""What is peculiar to records on a PostgreSQL server."""

import re
import secrets
import signal
import subprocess
import sys

import psycopg
import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import create_engine

from pellucid.core.errors import StorageFull
from pellucid.records import (
    RecordsDamaged,
    RecordsLocked,
    RecordsNewer,
    RecordsOlder,
    RecordsRefused,
    RecordsUnavailable,
    ValueUnrecordable,
    open_records,
)
from pellucid.records.tables import metadata
from postgres_server import running_server


@pytest.fixture(scope="module")
def own_server():
    """A server that may be ended."""
    with running_server() as running:
        yield running


@pytest.fixture
def clerk(server, database):
    """The address under which an account without privileges may write, and the account's name."""
    name = f"clerk_{database.partition('?')[0].rpartition('_')[2]}"
    server.sql(f"CREATE ROLE {name} LOGIN")
    server_database = database.partition("?")[0].rpartition("/")[2]
    server.sql(f"GRANT ALL ON ALL TABLES IN SCHEMA public TO {name}", database=server_database)
    server.sql(f"GRANT ALL ON ALL SEQUENCES IN SCHEMA public TO {name}", database=server_database)
    yield database.replace("pellucid@", f"{name}@"), name
    server.sql(f"DROP OWNED BY {name}; DROP ROLE {name}", database=server_database)


@pytest.fixture
def reopen_server(server_ward):
    opened = []

    def open_again(**options):
        opened.append(open_records(server_ward.address, **options))
        return opened[-1]

    yield open_again
    for records in opened:
        records.close()


def test_records_are_made_in_an_empty_database(server):
    name = server.fresh_database()
    with pytest.raises(RecordsOlder):
        open_records(server.url(name), create=False)
    for scheme in ("postgresql", "postgresql+psycopg", "postgres"):
        with open_records(server.url(name).replace("postgresql", scheme)) as records:
            assert records.verify_audit().n_events == 1


def test_processes_that_create_the_same_records_agree(server):
    script = "import sys; from pellucid.records import open_records; print(open_records(sys.argv[1]).site_salt().hex())"
    command = [sys.executable, "-c", script, server.url(server.fresh_database())]
    processes = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    salts = {process.communicate()[0] for process in processes}
    assert [process.returncode for process in processes] == [0] * 3
    assert len(salts) == 1
    with open_records(command[-1]) as records:
        assert records.verify_audit().n_events == 1


def test_models_equal_migrations(server_ward):
    engine = create_engine(server_ward.address.replace("postgresql", "postgresql+psycopg"))
    with engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []
    engine.dispose()


def test_constraints_of_models_equal_those_of_migrations(server, server_ward):
    query = """
        SELECT conname, pg_get_constraintdef(oid) FROM pg_constraint WHERE connamespace = 'public'::regnamespace
        AND conrelid != coalesce(to_regclass('alembic_version'), 0) UNION
        SELECT indexname, indexdef FROM pg_indexes WHERE schemaname = 'public' AND tablename != 'alembic_version'
    """
    modelled = server.url(server.fresh_database())
    engine = create_engine(modelled.replace("postgresql", "postgresql+psycopg"))
    metadata.create_all(engine)
    engine.dispose()
    with psycopg.connect(modelled) as connection:
        expected = sorted(connection.execute(query).fetchall())
    assert sorted(server_ward.rows(query)) == expected


def test_newer_schema_and_other_content_are_refused(server, server_ward):
    server_ward.sql("UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(RecordsNewer, match="9999"):
        open_records(server_ward.address)
    name = server.fresh_database()
    server.sql("CREATE TABLE recipe (name text)", database=name)
    with pytest.raises(RecordsUnavailable, match="something else"):
        open_records(server.url(name))


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://u:secret@/ghost?host={folder}",
        "postgresql://ghost:secret@/postgres?host={folder}",
        "postgresql://u:secret@/d?host=/nowhere",
        "postgresql://u:secret@127.0.0.1:1/d",
        "postgresql+psycopg2://u:secret@127.0.0.1:1/d",
    ],
)
def test_server_that_cannot_be_used_is_said_without_the_password(server, url):
    for create in (True, False):
        with pytest.raises(RecordsUnavailable) as caught:
            open_records(url.format(folder=server.folder), create=create)
        assert "secret" not in str(caught.value)


def test_connection_that_went_stale_is_replaced(own_server):
    database = own_server.fresh_database()
    with open_records(own_server.url(database)) as records:
        head = records.audit_head()
        own_server.restart()
        assert records.audit_head() == head
        own_server.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'pellucid'")
        assert records.pseudonym("case", "C1")


def test_server_that_is_away_is_said_and_found_again(own_server):
    with open_records(own_server.url(own_server.fresh_database())) as records:
        own_server.stop(signal.SIGQUIT)
        try:
            with pytest.raises(RecordsUnavailable, match="start the same command again"):
                records.pseudonym("case", "C1")
        finally:
            own_server.start()
        assert records.pseudonym("case", "C1")
        assert records.verify_audit().ok


def write_through_an_end(server, records):
    with records._database.write() as connection:
        connection.exec_driver_sql("UPDATE task SET priority = 7")
        own = connection.exec_driver_sql("SELECT pg_backend_pid()").scalar()
        server.sql(f"SELECT pg_terminate_backend({own})")
        connection.exec_driver_sql("UPDATE task SET priority = 8")


def test_connection_lost_in_a_transaction_leaves_nothing(server, server_ward):
    server_ward.enqueue("S1")
    with pytest.raises(RecordsUnavailable):
        write_through_an_end(server, server_ward.records)
    assert server_ward.claim().priority == 0


def freeze_while(frozen, meanwhile):
    with frozen._database.write() as connection:
        connection.exec_driver_sql("SELECT 1")
        meanwhile()
        connection.exec_driver_sql("SELECT 1")


def test_process_that_froze_in_a_transaction_loses_it_and_others_go_on(server_ward, reopen_server):
    frozen = reopen_server(busy_timeout_s=2)
    with pytest.raises(RecordsUnavailable):
        freeze_while(frozen, lambda: server_ward.records.pseudonym("case", "C1"))
    assert server_ward.records.pseudonym("case", "C1")


def test_too_many_connections_are_said(server, clerk):
    address, name = clerk
    server.sql(f"ALTER ROLE {name} CONNECTION LIMIT 1")
    with open_records(address) as records, records._database.read() as connection:
        connection.exec_driver_sql("SELECT 1")
        with pytest.raises(RecordsUnavailable, match="too many connections"):
            open_records(address)


def test_account_that_may_only_read_is_said(server, clerk):
    address, name = clerk
    server.sql(f"ALTER ROLE {name} SET default_transaction_read_only = on")
    with open_records(address, create=False) as records:
        assert records.audit_head().seq == 1
        with pytest.raises(RecordsUnavailable, match="read-only"):
            records.pseudonym("case", "C1")


def test_missing_privilege_is_said(server_ward, clerk):
    address, name = clerk
    server_ward.sql(f"REVOKE INSERT ON pseudonym FROM {name}")
    with open_records(address) as records, pytest.raises(RecordsUnavailable, match="permission"):
        records.pseudonym("case", "C1")


@pytest.mark.parametrize(
    ("state", "kind"),
    [
        ("53100", StorageFull),
        ("53200", RecordsUnavailable),
        ("58030", RecordsUnavailable),
        ("57P01", RecordsUnavailable),
        ("40P01", RecordsLocked),
        ("57014", RecordsLocked),
        ("XX001", RecordsDamaged),
        ("23514", RecordsRefused),
        ("22003", ValueUnrecordable),
    ],
)
def test_each_kind_of_failure_has_its_error_and_leaves_nothing(server_ward, state, kind):
    body = f"BEGIN RAISE EXCEPTION 'as the server says it' USING ERRCODE = '{state}'; END"
    server_ward.enqueue("S1")
    task = server_ward.claim()
    server_ward.sql(
        f"CREATE FUNCTION fault() RETURNS trigger LANGUAGE plpgsql AS $$ {body} $$",
        "CREATE TRIGGER fault BEFORE INSERT ON audit_event FOR EACH ROW EXECUTE FUNCTION fault()",
    )
    with pytest.raises(kind):
        server_ward.complete(task)
    server_ward.mend("audit_event")
    assert server_ward.records.scan_results() == []
    server_ward.complete(task)
    assert server_ward.records.verify_audit().ok


@pytest.mark.parametrize("name", ["nul\x00", secrets.token_hex(6000)], ids=["nul", "long"])
def test_text_that_the_server_cannot_hold_is_refused_whole(server_ward, name):
    with pytest.raises((ValueUnrecordable, RecordsRefused)):
        server_ward.records.register_specimen(name, "C", "P", [], {})
    assert server_ward.records.specimens() == []


def test_number_that_the_server_cannot_hold_is_refused(server_ward):
    with pytest.raises(ValueUnrecordable):
        server_ward.enqueue("S1", priority=2**40)


def test_driver_that_is_missing_is_said(tmp_path):
    script = """
import sys
sys.modules["psycopg"] = None
from pellucid.records import RecordsUnavailable, open_records
try:
    open_records("postgresql://u@/d")
except RecordsUnavailable as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert re.search("driver is not installed.*extra `postgres`", done.stdout)
