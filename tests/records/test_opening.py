import sqlite3
import subprocess
import sys

import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import create_engine

from pellucid.core.errors import StorageFull
from pellucid.records import (
    RecordsDamaged,
    RecordsLocked,
    RecordsNewer,
    RecordsOlder,
    RecordsUnavailable,
    open_records,
)
from pellucid.records.schema import REVISIONS
from pellucid.records.tables import metadata


def test_records_are_made_with_their_folder_and_private(tmp_path):
    path = tmp_path / "new" / "records.sqlite"
    with open_records(path) as records:
        assert records.verify_audit().ok
    assert path.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("form", [str, lambda path: f"sqlite:///{path}", lambda path: f"sqlite+pysqlite:///{path}"])
def test_path_and_url_name_the_same_records(file_ward, form):
    with open_records(form(file_ward.path)) as records:
        assert records.site_salt() == file_ward.records.site_salt()


def test_salt_is_random_and_stays(tmp_path):
    salts = []
    for name in ("a", "b", "a"):
        with open_records(tmp_path / name) as records:
            salts.append(records.site_salt())
    assert salts[0] == salts[2] != salts[1]
    assert len(salts[0]) == 32


def test_connections_are_durable_and_checked(file_ward):
    with file_ward.records._database.write() as connection:
        settings = {
            name: connection.exec_driver_sql(f"PRAGMA {name}").scalar()
            for name in ("journal_mode", "synchronous", "foreign_keys", "busy_timeout")
        }
    assert settings == {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1, "busy_timeout": 60_000}


def test_writing_transaction_holds_the_lock_from_its_start(ward, reopen):
    other = reopen(busy_timeout_s=0.05)
    with ward.records._database.write():
        with pytest.raises(RecordsLocked):
            other.pseudonym("case", "C1")
        assert other.runs()[0].run_id == "run-1"
    assert other.pseudonym("case", "C1")


def test_models_equal_migrations(file_ward):
    engine = create_engine(f"sqlite:///{file_ward.path}")
    with engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []
    engine.dispose()


def test_constraints_of_models_equal_those_of_migrations(file_ward):
    engine = create_engine("sqlite://")
    metadata.create_all(engine)
    query = "SELECT name, sql FROM sqlite_master WHERE type IN ('table', 'index') AND tbl_name != 'alembic_version'"
    with engine.connect() as connection:
        modelled = {row[0]: file_ward.shape(row[1]) for row in connection.exec_driver_sql(query)}
    migrated = {name: file_ward.shape(sql) for name, sql in file_ward.rows(query)}
    assert migrated == modelled
    engine.dispose()


def test_known_revisions_are_those_of_the_migrations():
    config = Config()
    config.set_main_option("script_location", "pellucid.records:migrations")
    script = ScriptDirectory.from_config(config)
    assert tuple(revision.revision for revision in reversed(list(script.walk_revisions()))) == REVISIONS


def test_newer_schema_is_refused_and_left_as_it_is(file_ward):
    file_ward.sql("UPDATE alembic_version SET version_num = '9999'")
    before = file_ward.rows("SELECT name, sql FROM sqlite_master")
    for create in (True, False):
        with pytest.raises(RecordsNewer, match="9999"):
            open_records(file_ward.path, create=create)
    assert file_ward.rows("SELECT name, sql FROM sqlite_master") == before


def test_missing_records_are_not_made_for_a_reader(tmp_path):
    path = tmp_path / "typo.sqlite"
    with pytest.raises(RecordsUnavailable, match="typo"):
        open_records(path, create=False)
    assert not path.exists()


def test_empty_file_becomes_records_for_a_writer_only(tmp_path):
    path = tmp_path / "records.sqlite"
    path.touch()
    with pytest.raises(RecordsOlder):
        open_records(path, create=False)
    assert path.stat().st_size == 0
    with open_records(path) as records:
        assert records.verify_audit().ok


def test_database_of_something_else_is_refused(tmp_path):
    path = tmp_path / "other.sqlite"
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE recipe (name TEXT)")
    connection.close()
    with pytest.raises(RecordsUnavailable, match="something else"):
        open_records(path)


def test_file_that_is_no_database_is_refused(tmp_path):
    path = tmp_path / "records.sqlite"
    path.write_bytes(b"case,specimen\n" * 400)
    with pytest.raises(RecordsDamaged):
        open_records(path)
    assert path.read_bytes() == b"case,specimen\n" * 400


@pytest.mark.parametrize("url", ["mysql://u:secret@h/d", "sqlite://", "sqlite:///:memory:", "no such://x"])
def test_other_databases_are_refused_without_telling_a_password(url):
    with pytest.raises(RecordsUnavailable) as caught:
        open_records(url)
    assert "secret" not in str(caught.value)


def test_unusable_paths_are_refused(tmp_path):
    (tmp_path / "file").touch()
    for path in (tmp_path, tmp_path / "file" / "records.sqlite"):
        with pytest.raises(RecordsUnavailable):
            open_records(path)


def test_processes_that_create_the_same_records_agree(tmp_path):
    script = "import sys; from pellucid.records import open_records; print(open_records(sys.argv[1]).site_salt().hex())"
    command = [sys.executable, "-c", script, str(tmp_path / "records.sqlite")]
    processes = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(4)]
    salts = {process.communicate()[0] for process in processes}
    assert [process.returncode for process in processes] == [0] * 4
    assert len(salts) == 1
    with open_records(tmp_path / "records.sqlite") as records:
        assert records.verify_audit().n_events == 1


def test_full_disk_is_said_and_leaves_whole_records(file_ward):
    file_ward.answer("S1")
    file_ward.enqueue("S2")
    task = file_ward.claim()
    with file_ward.records._database.read() as connection:
        pages = connection.exec_driver_sql("PRAGMA page_count").scalar()
        connection.exec_driver_sql(f"PRAGMA max_page_count = {pages + 1}")
    with pytest.raises(StorageFull):
        file_ward.complete(task, artefacts={f"{number}.png": "a" * 64 for number in range(1000)})
    assert file_ward.records.tasks(keys=[task.key])[0].state == "leased"
    assert len(file_ward.records.scan_results()) == 1
    assert file_ward.records.verify_audit().ok
    with file_ward.records._database.read() as connection:
        connection.exec_driver_sql("PRAGMA max_page_count = 1000000")
    file_ward.complete(task)
    assert file_ward.records.verify_audit().ok


def test_records_import_no_torch_and_no_sqlalchemy_until_opened():
    script = """
import sys
import pellucid.records
assert "sqlalchemy" not in sys.modules
pellucid.records.open_records
print("torch" in sys.modules)
"""
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert result.stdout == "False\n"
