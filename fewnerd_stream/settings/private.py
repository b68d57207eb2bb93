"""Files in a folder that others share: nobody else can point us elsewhere, or speak in our name.

The folder for temporary files is open to all. So ours is a folder in it that belongs to us alone; what is
written follows no link, and what is read must be ours.
"""

from __future__ import annotations

import os
import stat
import tempfile
from pathlib import Path
from typing import Final

_MOST_BYTES: Final = 1 << 20
_OURS_ALONE: Final = 0o700
_OTHERS_WRITE: Final = stat.S_IWGRP | stat.S_IWOTH
_NO_FOLLOW: Final = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0)


def _me() -> int:
    return os.geteuid() if hasattr(os, "geteuid") else 0


def folder() -> Path:
    """Name this user's folder; it need not be there yet."""
    return Path(tempfile.gettempdir()) / f"fewnerd-stream-{_me()}"


def ensure_folder() -> Path:
    """Have this user's folder, readable and writable for nobody else.

    Raises:
        OSError: there is something else of that name, or it is another user's, or open to others.
    """
    path = folder()
    path.mkdir(mode=_OURS_ALONE, exist_ok=True)
    _check_folder(path)
    return path


def _check_folder(path: Path) -> None:
    found = path.lstat()
    if not stat.S_ISDIR(found.st_mode):
        raise PermissionError(f"{path} is no folder")
    if found.st_uid != _me():
        raise PermissionError(f"{path} belongs to user {found.st_uid}, not to {_me()}")
    if found.st_mode & _OTHERS_WRITE:
        raise PermissionError(f"{path} can be written by others")


def write(path: Path, data: bytes) -> None:
    """Write a file whole or not at all; whatever has its name by then is replaced, and no link is followed.

    Raises:
        OSError: it cannot be written, or its folder is ours by name only.
    """
    if path.parent == folder():
        ensure_folder()
    part = path.with_name(path.name + ".part")
    part.unlink(missing_ok=True)
    descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _NO_FOLLOW, 0o644)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
    part.replace(path)


def read(path: Path) -> bytes:
    """Read a file that we, or the administrator, have written; no link is followed, and nothing waited for.

    Raises:
        OSError: it cannot be read; it is another user's, no plain file, a link, or larger than 1 MiB.
    """
    if path.parent == folder():
        _check_folder(path.parent)
    if path.is_symlink():
        raise PermissionError(f"{path} is a link")
    # A pipe of that name would keep us waiting for somebody to write.
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | _NO_FOLLOW)
    with os.fdopen(descriptor, "rb") as file:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            raise PermissionError(f"{path} is no plain file")
        if found.st_uid not in {_me(), 0}:
            raise PermissionError(f"{path} belongs to user {found.st_uid}, not to {_me()}")
        data = file.read(_MOST_BYTES + 1)
    if len(data) > _MOST_BYTES:
        raise PermissionError(f"{path} has more than {_MOST_BYTES} bytes")
    return data
