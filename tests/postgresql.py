"""A PostgreSQL server of the tests' own, in a temporary folder, with a password."""

import os
import shutil
import socket
import subprocess
from glob import glob
from pathlib import Path

import optuna
import psycopg
from sqlalchemy import make_url

USER, PASSWORD, PREPARED = "nas", "secret-wort-7", "prepared"


def found(program: str) -> Path | None:
    """In the path, or where Debian keeps it."""
    places = [shutil.which(program), *sorted(glob(f"/usr/lib/postgresql/*/bin/{program}"), reverse=True)]
    return next((Path(place).resolve() for place in places if place), None)


MISSING = [name for name in ("initdb", "pg_ctl", "postgres") if not found(name)]


class Server:
    """Databases are copies of one that has Optuna's tables, so that making one takes a moment."""

    password = PASSWORD

    def __init__(self, folder: Path) -> None:
        self.folder, self.made = folder, 0
        self.owner = {"user": "nobody", "group": "nogroup"} if os.getuid() == 0 else {}  # it refuses root
        if self.owner:
            shutil.chown(folder, **self.owner)
        (folder / "password").write_text(PASSWORD)
        (folder / "password").chmod(0o644)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        words = ["-A", "scram-sha-256", f"--pwfile={folder / 'password'}", "-E", "UTF8", "--no-sync"]
        self.call("initdb", "-D", self.folder / "data", "-U", USER, *words)

    def call(self, program: str, *words: object) -> None:
        subprocess.run(
            [found(program), *map(str, words)], check=True, cwd=self.folder, stdout=subprocess.DEVNULL, **self.owner
        )

    def start(self) -> None:
        settings = {"port": self.port, "listen_addresses": "127.0.0.1", "unix_socket_directories": self.folder,
                    "fsync": "off", "max_connections": 200}  # fmt: skip
        options = " ".join(f"-c {name}={value}" for name, value in settings.items())
        self.call("pg_ctl", "-D", self.folder / "data", "-l", self.folder / "log", "-w", "-o", options, "start")

    def stop(self, mode: str = "fast") -> None:
        self.call("pg_ctl", "-D", self.folder / "data", "-w", "-m", mode, "stop")

    def address(self, database: str, password: str = "") -> str:
        return f"postgresql://{USER}{f':{password}' if password else ''}@127.0.0.1:{self.port}/{database}"

    def prepare(self) -> None:
        self.sql("postgres", f"CREATE DATABASE {PREPARED}")
        url = make_url(self.address(PREPARED, PASSWORD)).set(drivername="postgresql+psycopg")
        optuna.storages.RDBStorage(url.render_as_string(hide_password=False)).engine.dispose()

    def database(self, template: str = PREPARED) -> str:
        """The name of a new database; of the template "template1" it is empty, as an administrator makes it."""
        self.made += 1
        self.sql("postgres", f"CREATE DATABASE study{self.made} TEMPLATE {template}")
        return f"study{self.made}"

    def place(self, file: Path, study: str = "study") -> Path:
        """The file that names a new database, in the place of an SQLite file."""
        named = file.with_name(file.name + ".url")
        if not named.exists():
            named.write_text(f"{self.address(self.database())}\n{study}\n")
        return named

    def sql(self, database: str, statement: str) -> list[tuple[object, ...]]:
        with psycopg.connect(self.address(database, PASSWORD), autocommit=True) as connection:
            cursor = connection.execute(statement)
            return cursor.fetchall() if cursor.description else []
