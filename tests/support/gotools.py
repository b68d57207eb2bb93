"""Programs and files from Go's module proxy, at pinned versions: built once into the user's cache."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import subprocess
from pathlib import Path


class GoUnavailable(Exception):  # noqa: N818 - says what is the case, and why
    """It cannot be had here; the message says what is missing."""


def program(package: str, version: str) -> Path:
    """Return the path of a Go program, built on first use.

    Raises:
        GoUnavailable: there is no Go, or it could not be built.
    """
    name = package.rsplit("/", 1)[-1]
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "fewnerd-stream"
    path = cache / f"{name}-{version}" / name
    if path.exists():
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    with (cache / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not path.exists():
            _go("install", "-ldflags=-s -w", f"{package}@{version}", GOBIN=str(path.parent))
    return path


def module(name: str, version: str) -> Path:
    """Return the folder of a module's source, without what it depends on.

    Raises:
        GoUnavailable: there is no Go, or it could not be fetched.
    """
    return Path(json.loads(_go("mod", "download", "-json", f"{name}@{version}"))["Dir"])


def _go(*arguments: str, **environment: str) -> str:
    go = shutil.which("go")
    if go is None:
        message = "no Go on the PATH"
        raise GoUnavailable(message)
    done = subprocess.run(
        [go, *arguments],
        # Away from any go.mod, whose versions would be taken in place of these.
        cwd=Path.home(),
        env=os.environ | {"GOFLAGS": "-mod=mod"} | environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=800,
    )
    if done.returncode != 0:
        message = f"go {' '.join(arguments)} failed:\n{done.stdout}{done.stderr}"
        raise GoUnavailable(message)
    return done.stdout
