"""A store on a disk that cannot be written: it can be looked at, and nothing else. What is in it is whole."""

from __future__ import annotations

import errno
import sqlite3
import threading
from pathlib import Path
from typing import NoReturn

from apportion.errors import StoreError
from apportion.store.database import VERSION, Database, version_of

REMEDY = "copy its folder to where it may be written, and name that."


class Archive(Database):
    """A store that is read only.

    Raises:
        StoreError: it is none, or what was written last, or its tables, can only be had by writing.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._reading = threading.Lock()
        journal = path.with_name(f"{path.name}-wal")
        with self.explained("opened"):
            if journal.exists() and journal.stat().st_size:
                raise StoreError(f"{path} must have been closed to be looked at here, but {journal} is left; {REMEDY}")
            location = f"{path.absolute().as_uri()}?mode=ro&immutable=1"
            self._reader = sqlite3.connect(location, uri=True, isolation_level=None, check_same_thread=False)
        try:
            with self.explained("opened"):
                version = version_of(self._reader, path)
            if version != VERSION:
                raise StoreError(f"{path} must be of format {VERSION} to be looked at here, got {version}; {REMEDY}")
        except StoreError:
            self._reader.close()
            raise

    def flush(self) -> None:
        """Nothing is on its way to the disk."""

    def close(self) -> None:
        """Close the file."""
        self._reader.close()

    def _submit(self, operation: object, answer: object) -> NoReturn:
        raise StoreError(f"{self.path} must be written, but its disk or folder forbids it; {REMEDY}")


def to_look_at(path: Path, schema: str) -> Database:
    """A store that is opened to be looked at, wherever it is.

    Raises:
        StoreError: as `Database`.
    """
    try:
        return Database(path, schema)
    except StoreError as error:
        if isinstance(error.__cause__, OSError) and error.__cause__.errno in (errno.EROFS, errno.EACCES):
            return Archive(path)
        raise
