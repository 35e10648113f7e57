"""Foreign errors of disk and database, told in the hub's own words."""

from __future__ import annotations

import errno
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from hub.errors import (
    CorruptError,
    HubError,
    RegistryAccessError,
    RegistryBusyError,
    StorageFullError,
)

_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_SQLITE_BUSY: Final = frozenset({sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED})
_SQLITE_DAMAGED: Final = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})


class CatalogSchemaError(HubError):
    """The catalog's schema is not one that this release can use."""

    code = "FAILED_PRECONDITION"
    exit_code = 78
    reason = "CATALOG_SCHEMA"


def from_os_error(error: OSError, where: str, outcome: str) -> HubError:
    """Tell an operating system's error in the hub's words."""
    what = error.strerror or str(error)
    if error.errno in _FULL:
        return StorageFullError(
            f"disk full, {outcome}: {where}: {what}; free some space and try again"
        )
    return RegistryAccessError(
        f"cannot use the registry at {where} ({what}), {outcome}; check that the folder can be "
        "read and written by this user, or choose another with HUB_REGISTRY"
    )


@contextmanager
def storage_faults(where: str, outcome: str = "nothing published") -> Iterator[None]:
    """Turn OSError inside the block into StorageFullError or RegistryAccessError.

    Args:
        where: The registry's folder.
        outcome: What did not happen, for the message.
    """
    try:
        yield
    except OSError as error:
        raise from_os_error(error, where, outcome) from error


@contextmanager
def catalog_faults(where: str, what: str = "catalog") -> Iterator[None]:
    """Turn database errors inside the block into HubErrors that name the database.

    IntegrityError passes: another writer won, and the transaction may be tried again.

    Args:
        where: The database's URL, without a password.
        what: What it holds.
    """
    try:
        yield
    except IntegrityError:
        raise
    except DBAPIError as error:
        raise _from_database_error(error, where, what) from error
    except PoolTimeoutError as error:
        raise RegistryBusyError(
            f"every connection to the {what} {where} is in use; try again in a moment"
        ) from error


def _from_database_error(error: DBAPIError, where: str, what: str) -> HubError:
    cause = str(error.orig)
    outcome = "nothing published" if what == "catalog" else "nothing stored"
    extended = getattr(error.orig, "sqlite_errorcode", 0)
    code = extended & 0xFF
    if code == sqlite3.SQLITE_FULL or extended == sqlite3.SQLITE_IOERR_SHMSIZE:
        return StorageFullError(
            f"disk full, {outcome}: {where}: {cause}; free some space and try again"
        )
    if code in _SQLITE_BUSY:
        return RegistryBusyError(
            f"another process holds the {what} {where} ({cause}); try again in a moment"
        )
    if code in _SQLITE_DAMAGED:
        return CorruptError(
            f"the {what} {where} is damaged ({cause}); restore it from a backup: the blobs "
            "beside it are not affected"
        )
    return RegistryAccessError(
        f"cannot use the {what} {where} ({cause}); check that its folder can be read and "
        "written by this user and has free space"
    )
