"""A small disk, for a broker to fill."""

from __future__ import annotations

import shutil
import subprocess
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

DISK_MIB: Final = 160


@contextmanager
def small_disk(path: Path) -> Iterator[None]:
    """Put a small file system at a path, in memory; raises OSError where this user may not."""
    path.mkdir(parents=True, exist_ok=True)
    done = subprocess.run(
        [shutil.which("mount") or "mount", "-t", "tmpfs", "-o", f"size={DISK_MIB}m", "tmpfs", str(path)],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        message = f"no small disk for a broker without the right to mount: {done.stderr.strip()}"
        raise OSError(message)
    try:
        yield
    finally:
        subprocess.run([shutil.which("umount") or "umount", "-l", str(path)], check=False)
