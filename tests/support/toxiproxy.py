"""Toxiproxy between workers and brokers: connections that are slow, cut, half open, or lose the answers.

Its server is built once with ``go install`` into the user's cache, at a pinned version.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import subprocess
import urllib.error
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self

from tests.support.kafka import HOST, free_ports
from tests.support.processes import Process, until

if TYPE_CHECKING:
    from collections.abc import Mapping

VERSION: Final = "v2.12.0"
_PACKAGE: Final = "github.com/Shopify/toxiproxy/v2/cmd/server"


class ToxiproxyUnavailable(Exception):  # noqa: N818 - says what is the case, and why
    """Toxiproxy cannot be had here; the message says what is missing."""


def server() -> Path:
    """Return the server's path, built on first use; raises :class:`ToxiproxyUnavailable`."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "fewnerd-stream"
    path = cache / f"toxiproxy-{VERSION}" / "server"
    if path.exists():
        return path
    go = shutil.which("go")
    if go is None:
        message = "no Go on the PATH to build Toxiproxy"
        raise ToxiproxyUnavailable(message)
    path.parent.mkdir(parents=True, exist_ok=True)
    with (cache / "toxiproxy.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not path.exists():
            done = subprocess.run(
                [go, "install", f"{_PACKAGE}@{VERSION}"],
                env=os.environ | {"GOBIN": str(path.parent)},
                capture_output=True,
                text=True,
                check=False,
                timeout=600,
            )
            if done.returncode != 0 or not path.exists():
                message = f"Toxiproxy could not be built:\n{done.stderr}"
                raise ToxiproxyUnavailable(message)
    return path


class Toxiproxy:
    """A running Toxiproxy, one proxy for each name; ended with its block."""

    def __init__(self, upstreams: Mapping[str, str], folder: Path) -> None:
        """Choose ports; nothing runs yet.

        Args:
            upstreams: ``host:port`` to forward to, by the proxy's name.
            folder: for its log.
        """
        api, *ports = free_ports(1 + len(upstreams))
        self._api = f"http://{HOST}:{api}"
        self._command = [str(server()), "-host", HOST, "-port", str(api)]
        self._log = folder / "toxiproxy.log"
        self._upstreams = dict(upstreams)
        self._process: Process | None = None
        self.listen: dict[str, str] = {
            name: f"{HOST}:{port}" for name, port in zip(upstreams, ports, strict=True)
        }

    def __enter__(self) -> Self:
        """Start it and make its proxies."""
        self._process = Process(self._command, self._log)
        until("Toxiproxy answers", self._answers, 20)
        for name, upstream in self._upstreams.items():
            self._ask("POST", "/proxies", {"name": name, "listen": self.listen[name], "upstream": upstream})
        return self

    def close(self) -> None:
        """End it."""
        if self._process is not None:
            self._process.kill()

    def __exit__(self, *_: object) -> None:
        """Close."""
        self.close()

    def toxic(
        self, kind: str, stream: str = "downstream", *, proxy: str | None = None, **attributes: int
    ) -> None:
        """Poison one proxy, or all, in one direction: ``downstream`` is towards the client."""
        for name in self._upstreams if proxy is None else (proxy,):
            body = {"type": kind, "stream": stream, "attributes": attributes, "name": f"{kind}-{stream}"}
            self._ask("POST", f"/proxies/{name}/toxics", body)

    def enable(self, proxy: str, *, on: bool) -> None:
        """Open a proxy, or close it: then connections are cut and new ones refused."""
        self._ask("POST", f"/proxies/{proxy}", {"enabled": on})

    def clear(self) -> None:
        """Open all proxies and take all toxics away."""
        self._ask("POST", "/reset")

    def cut(self) -> None:
        """Cut every connection there is; new ones are taken."""
        for name in self._upstreams:
            self.enable(name, on=False)
            self.enable(name, on=True)

    def _answers(self) -> bool:
        try:
            self._ask("GET", "/version")
        except (urllib.error.URLError, OSError):
            return False
        return True

    def _ask(self, method: str, path: str, body: Any = None) -> None:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self._api + path, data, method=method)
        with urllib.request.urlopen(request, timeout=10) as answer:
            answer.read()
