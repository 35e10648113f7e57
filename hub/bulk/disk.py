"""Files that cannot be read or written, in the hub's own words."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from hub.errors import DocumentError, StorageFullError

_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


@contextmanager
def disk_faults(path: Path, doing: str) -> Iterator[None]:
    """Turn OSError inside the block into an error that names the file.

    Args:
        path: The file.
        doing: "read" or "written".
    """
    try:
        yield
    except OSError as error:
        what = error.strerror or str(error)
        if error.errno in _FULL:
            raise StorageFullError(f"{path} cannot be {doing}: {what}; free some space") from None
        raise DocumentError(f"{path} cannot be {doing}: {what}; check its permissions") from None
