"""Opens the database of a study, a file of SQLite or one on a PostgreSQL server, to write or only to read it."""

from __future__ import annotations

import logging
import re
import sqlite3
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import optuna
import sqlalchemy.event
import sqlalchemy.exc
from optuna.exceptions import StorageInternalError
from sqlalchemy import URL

from nas.errors import SearchFailed, UserError
from nas.searching import server
from nas.searching.reading import ReadingStorage
from nas.searching.writing import StudyStorage, first_line

AT_ONCE = 10.0  # seconds to wait for another program's lock in SQLite, which hears no signal
STUDY_TABLES = {"studies", "trials", "trial_params", "trial_values", "alembic_version"}
REMEDIES = {
    "locked": "another program holds a lock on it (a browser of databases, a backup); close it",
    "full": "make room on its disk",
    "No space left": "make room on its server's disk",
    "readonly": "make it writable",
    "server": "see that its server runs and can be reached",
}
NETWORK = ("nfs", "cifs", "smb", "lustre", "gpfs", "beegfs", "ceph", "afs", "9p", "fuse.")
"""Prefixes of the names of network file systems."""


def open_storage(path: Path) -> StudyStorage:
    """Open the storage at `path`, or create it. It waits minutes to write while another program holds a lock.

    SQLite does not flush every write to the disk. A write-ahead log with synchronous=NORMAL survives a killed process;
    a power cut loses at most the last moments. The log needs memory that all readers share, so on a network file
    system there is a rollback journal instead. UserError if a server cannot be reached.
    """
    if server.is_remote(path):
        address = server.recall(path)[0]
        return server.answering(address, lambda: StudyStorage(server.driver_url(address), server.OPTIONS))
    shared = _shared(path.absolute().parent)
    storage = StudyStorage(_url(str(path)), engine_kwargs={"connect_args": {"timeout": AT_ONCE}})

    @sqlalchemy.event.listens_for(storage.engine, "connect")
    def _(connection: Any, _record: Any) -> None:
        connection.execute(f"PRAGMA journal_mode={'DELETE' if shared else 'WAL'}")
        connection.execute(f"PRAGMA synchronous={'FULL' if shared else 'NORMAL'}")

    storage.engine.dispose()  # the constructor has connected without the pragmas; connect again
    return storage


@cache
def _shared(folder: Path) -> bool:
    """Whether the folder is on a network file system, which is said once."""
    kind = file_system(folder)
    if found := kind.startswith(NETWORK):
        print(
            f"{folder} is on a network file system ({kind}): its study is written with a rollback journal, and more "
            "slowly; read it on this machine only, or give --storage postgresql://...",
            file=sys.stderr,
        )
    return found


def file_system(folder: Path, mounts: Path = Path("/proc/self/mounts")) -> str:
    """The type of the file system that holds the folder, as Linux names it; empty if unknown."""
    place, found = folder.resolve(), [(Path("/"), "")]
    for line in mounts.read_text().splitlines() if mounts.exists() else ():
        _, mounted, kind, *_ = line.split(" ")
        mount = Path(re.sub(r"\\(\d{3})", lambda octal: chr(int(octal[1], 8)), mounted))  # \040 is a space
        if place.is_relative_to(mount):
            found.append((mount, kind))
    return max(reversed(found), key=lambda each: len(each[0].parts))[1]  # the last of those at the same place


@contextmanager
def quiet_optuna() -> Iterator[None]:
    """Silence Optuna, which would announce every study that it creates."""
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    logging.getLogger("alembic").setLevel(logging.ERROR)
    try:
        yield
    finally:
        optuna.logging.set_verbosity(before)


def _url(database: str, **query: str) -> str:
    """The URL of an SQLite file, whatever characters its name has."""
    return URL.create("sqlite", database=database, query=query).render_as_string()


def place(path: Path) -> str:
    """Where the study is, for messages: the file itself, or the address in it."""
    return server.recall(path)[0] if server.is_remote(path) else str(path)


def open_reading(path: Path) -> tuple[ReadingStorage, list[str]]:
    """Return the storage in the file `path`, which is only read, and the names of its studies.

    UserError if it is no study database: nothing is written to the files of other programs.
    """
    if not server.is_remote(path):
        return _read_file(path)
    address, _ = server.recall(path)
    if not holds_studies(path):
        raise UserError(f"{address} holds no study yet; search first (python -m nas.run), or name another database")
    return server.answering(address, lambda: _read_server(address))


def holds_studies(path: Path) -> bool:
    """Whether there is a file, or the server's database has the tables of studies. UserError if it does not answer."""
    if not server.is_remote(path):
        return path.exists()
    address, _ = server.recall(path)

    def tables() -> list[str]:
        with closing(server.connected(address).connect()) as connection:
            return sqlalchemy.inspect(connection).get_table_names()

    return set(server.answering(address, tables)) >= STUDY_TABLES


def _read_server(address: str) -> tuple[ReadingStorage, list[str]]:
    storage = ReadingStorage(server.driver_url(address), server.OPTIONS, skip_table_creation=True)
    return storage, storage.study_names()


def _read_file(path: Path) -> tuple[ReadingStorage, list[str]]:
    wanted = path.absolute()
    for how in ({"mode": "ro"}, {"mode": "ro", "immutable": "1"}):  # a log on a read-only disk can only be left out
        address = f"file:{quote(str(wanted))}?{urlencode(how)}"
        try:
            with closing(sqlite3.connect(address, uri=True, timeout=AT_ONCE)) as connection:
                tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master")}
            break
        except sqlite3.OperationalError as error:
            if "locked" in str(error):  # to leave its log out would hide its latest trials
                raise UserError(f"{path} is locked by another program; close that, and try again") from error
            reason = error
        except sqlite3.DatabaseError as error:
            raise UserError(f"{path} is no study database ({error}); move it away or name another file") from error
    else:
        raise UserError(f"{path} cannot be read ({reason}); check its permissions and those of its folder") from reason
    if not tables >= STUDY_TABLES:
        raise UserError(f"{path} is a database of something else; move it away or name another file")
    url = _url(f"file:{quote(str(wanted))}", uri="true", **how)
    try:
        storage = ReadingStorage(url, {"connect_args": {"timeout": AT_ONCE}}, skip_table_creation=True)
        return storage, storage.study_names()
    except RuntimeError as error:  # of another version of Optuna
        raise UserError(f"{path}: {error}".replace("$STORAGE_URL", _url(str(path)))) from error
    except (sqlalchemy.exc.SQLAlchemyError, StorageInternalError) as error:
        raise UserError(f"{path} is damaged ({first_line(error)}); restore a copy, or move it away") from error


@contextmanager
def explained(path: Path) -> Iterator[None]:
    """Turn the errors of a database that cannot be written to, or not any more, into a `SearchFailed` of one line."""
    try:
        yield
    except (sqlalchemy.exc.DatabaseError, StorageInternalError) as error:
        reason = first_line(error)
        remedy = next((what for word, what in REMEDIES.items() if word in reason), "look at its disk and permissions")
        raise SearchFailed(
            f"cannot write to {place(path)} ({reason}): {remedy}, then run the same command again"
        ) from error


def only_study(path: Path) -> optuna.Study:
    """Return the one study in the database at `path`, for reading. UserError if there is none, or more than one.

    On a server, it is the one that `path` names; others may be beside it.
    """
    storage, names = open_reading(path)
    if server.is_remote(path):
        _, asked = server.recall(path)
        if asked not in names:
            raise UserError(f"{place(path)} has no study {asked!r}; it has {', '.join(names) or 'none'}")
        names = [asked]
    if len(names) != 1:
        raise UserError(f"{place(path)} holds the studies {', '.join(names) or '(none)'}; expected exactly one")
    return optuna.load_study(study_name=names[0], storage=storage)
