"""A small disk, for a broker to fill: a file system in memory, or a limit on the size of the broker's files."""

from __future__ import annotations

import resource
import shutil
import subprocess
from contextlib import suppress
from typing import TYPE_CHECKING, Final, Self

if TYPE_CHECKING:
    from pathlib import Path

DISK_MIB: Final = 160
_FILE_BYTES: Final = 4096


class Disk:
    """A disk at a path, small where this user may mount one; from ``with`` to the end of its block."""

    def __init__(self, path: Path) -> None:
        """Choose the path; nothing is mounted yet."""
        self.path = path
        self.mounted = False

    @property
    def kind(self) -> str:
        """What fills up."""
        return f"a disk of {DISK_MIB} MiB" if self.mounted else "a limit on the size of files"

    def fill(self, process: int) -> None:
        """Leave no room for anything that a process would write."""
        if self.mounted:
            with (self.path / "filler").open("wb") as filler, suppress(OSError):
                while True:
                    filler.write(bytes(1 << 20))
        else:
            resource.prlimit(process, resource.RLIMIT_FSIZE, (_FILE_BYTES, _FILE_BYTES))

    def free(self) -> None:
        """Make room again; a limit has ended with its process."""
        if self.mounted:
            (self.path / "filler").unlink()

    def __enter__(self) -> Self:
        """Mount it, where this user may."""
        self.path.mkdir(parents=True, exist_ok=True)
        command = ["mount", "-t", "tmpfs", "-o", f"size={DISK_MIB}m", "tmpfs", str(self.path)]
        if shutil.which("mount"):
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            self.mounted = done.returncode == 0
        return self

    def __exit__(self, *_: object) -> None:
        """Unmount it."""
        if self.mounted:
            subprocess.run(["umount", "-l", str(self.path)], check=False)
