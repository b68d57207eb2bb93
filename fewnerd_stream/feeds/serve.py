"""An aiohttp application on an address, from the start of a block to its end."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from aiohttp import web

from fewnerd_stream.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


@asynccontextmanager
async def serve(
    application: web.Application, host: str, port: int, *, patience: float = 5.0
) -> AsyncIterator[str]:
    """Serve it, and yield its address; at the end, what is at work has so many seconds.

    Raises:
        SettingsError: it cannot listen there.
    """
    runner = web.AppRunner(application, access_log=None, handle_signals=False, shutdown_timeout=patience)
    await runner.setup()
    try:
        site = web.TCPSite(runner, host, port)
        try:
            await site.start()
        except OSError as error:
            raise SettingsError(f"cannot listen on {host}:{port}: {error.strerror or error}") from error
        bound = runner.addresses[0][1]
        yield f"http://{f'[{host}]' if ':' in host else host}:{bound}"
    finally:
        await runner.cleanup()
