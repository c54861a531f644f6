"""A study on a PostgreSQL server: where it is, without the password, and the lock that one search holds on it."""

from __future__ import annotations

import importlib.util
import math
import os
import secrets
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

import sqlalchemy
import sqlalchemy.event
import sqlalchemy.exc
from optuna.exceptions import StorageInternalError
from sqlalchemy import URL, Engine, make_url

from nas.errors import SearchFailed, UserError
from nas.files import write_text
from nas.run_folder import RunFolder
from nas.searching.writing import PAUSE, first_line

R = TypeVar("R")
ENDING = ".url"
"""The suffix of the file that holds the address of a study's server."""

DRIVER = "postgresql+psycopg"
Guard = Callable[[Engine], None]
OPTIONS: dict[str, Any] = {
    "pool_pre_ping": True,  # a server that was started again in the meantime is no error
    "connect_args": {"connect_timeout": 10, "application_name": "lensing-nas"},
}
AGAIN = 1.0  # seconds until the lock is taken again
# A session that only we have lost, with the network, would keep its lock from us.
END_OTHERS = sqlalchemy.text(
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = :name AND pid <> pg_backend_pid()"
)


def is_remote(path: Path) -> bool:
    """Whether the file names the server of a study, instead of holding the study."""
    return path.suffix == ENDING


def without_password(address: str) -> str:
    """Return a PostgreSQL URL that anybody may read. Its password moves to PGPASSWORD, where the driver looks for it.

    Without one, the driver also looks in ~/.pgpass. UserError if it is no such URL; the message does not show it.
    """
    try:
        url = make_url(address)
    except (sqlalchemy.exc.ArgumentError, ValueError):
        url = URL.create("unknown")
    if url.drivername not in ("postgresql", DRIVER) or not url.database:
        raise UserError("storage is no address of a database; expected postgresql://user@host/database")
    if "@" in (url.host or ""):
        raise UserError("storage has an @ too many; write one in a password as %40")
    query = dict(url.query)
    password = query.pop("password", url.password)
    if hidden := [name for name in query if "password" in name]:
        raise UserError(
            f"storage has the secret {hidden[0]}, which is not kept; expected postgresql://user@host/database"
        )
    if password:
        os.environ["PGPASSWORD"] = str(password)
    url = URL.create("postgresql", url.username, None, url.host, url.port, url.database, query)
    return url.render_as_string()


def shown(word: str) -> str:
    """A word of a command line without the password in it, which moves to PGPASSWORD."""
    start = word.find("postgres")
    if start < 0 or "://" not in word[start:]:
        return word
    try:
        return word[:start] + without_password(word[start:])
    except UserError:  # the command reports it later
        return word[:start]


def place_study(run: RunFolder, storage: str | None, study: str) -> None:
    """Let the run's folder name the server `storage` of its study, for all commands that read it. None: as it is.

    UserError if `storage` is no address, nothing answers there, or the study is somewhere else already.
    """
    if storage is None:
        return
    address = without_password(storage)
    if run.address.exists():
        if (before := recall(run.address)) != (address, study):
            raise UserError(
                f"the folder {run.path} has its study {before[1]!r} at {before[0]}; leave --storage out, or give "
                f"another --name (if the server has moved, remove {run.address})"
            )
        return
    if run.database.exists():
        raise UserError(f"the study is in {run.database}, not on a server; leave --storage out, or give another --name")
    answering(address, lambda: connected(address).connect().close())
    run.path.mkdir(parents=True, exist_ok=True)
    write_text(run.address, f"{address}\n{study}\n")


def recall(path: Path) -> tuple[str, str]:
    """The address and the study's name in the file that `place_study` wrote. UserError if it is damaged."""
    lines = path.read_text().splitlines()
    if len(lines) != 2:
        raise UserError(f"{path} is damaged; remove it, and give --storage again")
    return without_password(lines[0]), lines[1]


def driver_url(address: str) -> str:
    """The URL with which SQLAlchemy connects. UserError if the driver is not installed."""
    if importlib.util.find_spec("psycopg") is None:
        raise UserError("a study on PostgreSQL needs psycopg: pip install 'psycopg[binary]'")
    return make_url(address).set(drivername=DRIVER).render_as_string()


def connected(address: str, **options: Any) -> Engine:
    return sqlalchemy.create_engine(driver_url(address), **{**OPTIONS, **options})


def answering(address: str, call: Callable[[], R]) -> R:
    """Return what `call` makes of the server. UserError if it cannot be reached, or has a study of another Optuna."""
    try:
        return call()
    except (sqlalchemy.exc.SQLAlchemyError, StorageInternalError) as error:
        raise UserError(
            f"cannot open {address} ({first_line(error)}); check the address, and the password in PGPASSWORD or "
            "~/.pgpass"
        ) from error
    except RuntimeError as error:
        raise UserError(f"{address}: {error}".replace("$STORAGE_URL", address)) from error


@contextmanager
def only_driver(path: Path) -> Iterator[Guard]:
    """Hold the lock of the search on the study's server. UserError if another search holds it.

    The server frees it when our session ends, however it does. Searches in other folders, and on other machines,
    respect it. What this yields takes the engine that writes the study: before it writes, once a second and whenever
    it connects again, the lock is taken again, since our session may have ended. SearchFailed if another search has
    taken it in the meantime.
    """
    if not is_remote(path):
        yield lambda writer: None
        return
    address, study = recall(path)
    name = f"lensing-nas {secrets.token_hex(16)}"  # of our sessions
    named = {"connect_args": {**OPTIONS["connect_args"], "application_name": name}}
    engine = connected(address, **named, isolation_level="AUTOCOMMIT", pool_size=1, max_overflow=0)
    lock = sqlalchemy.select(sqlalchemy.func.pg_try_advisory_lock(zlib.crc32(f"lensing-nas {study}".encode())))

    def hold(refused: type[Exception]) -> None:
        with engine.connect() as connection:  # the pool keeps it open, and replaces it if its session has ended
            while True:
                ended = connection.scalar(END_OTHERS, {"name": name})
                if connection.scalar(lock):
                    return
                if not ended:
                    raise refused(f"another search drives the study {study!r} at {address}; wait for it")
                time.sleep(PAUSE)

    held = -math.inf

    def hold_on(after: float) -> None:
        nonlocal held
        if time.monotonic() - held >= after:
            hold(SearchFailed)
            held = time.monotonic()

    def guard(writer: Engine) -> None:
        sqlalchemy.event.listen(writer, "connect", lambda *_: hold_on(0.0))
        sqlalchemy.event.listen(writer, "checkout", lambda *_: hold_on(AGAIN))

    try:
        hold(UserError)
        yield guard
    finally:
        # Said, and not left to the end of the session, which the server notices later: the next search may begin now.
        with suppress(sqlalchemy.exc.SQLAlchemyError), engine.connect() as connection:  # an ended one holds nothing
            connection.execute(sqlalchemy.select(sqlalchemy.func.pg_advisory_unlock_all()))
        engine.dispose()
