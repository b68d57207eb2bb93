"""Which broker answers, and what is said of those that do not let us in."""

from __future__ import annotations

import asyncio
import shutil
import ssl
import subprocess
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING

import pytest

from fewnerd_stream.errors import BrokerError
from fewnerd_stream.kafka.reach import answering
from fewnerd_stream.settings import load_settings

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from fewnerd_stream.kafka.embedded import EmbeddedBroker


@asynccontextmanager
async def _server(answer: bytes | None, context: ssl.SSLContext | None = None) -> AsyncIterator[str]:
    """Listen, take what comes, and answer with some bytes and the end; or with nothing, for ever."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        open_.append(writer)
        with suppress(OSError):
            await reader.read(1)
            if answer is not None:
                writer.write(answer)
                writer.close()

    open_: list[asyncio.StreamWriter] = []
    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
    try:
        yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
        for writer in open_:
            writer.close()
        for writer in open_:
            with suppress(OSError):
                await writer.wait_closed()


async def _refused(servers: str, **settings: str) -> str:
    with pytest.raises(BrokerError) as caught:
        await answering(load_settings(bootstrap_servers=servers, **settings), 2)
    return str(caught.value)


async def test_one_that_answers_comes_first(broker: EmbeddedBroker) -> None:
    """One that is down and one that is frozen, both named before it, cost nothing."""
    async with _server(None) as frozen:
        servers = f"127.0.0.1:1,{frozen},{broker.bootstrap}"
        found = await answering(load_settings(bootstrap_servers=servers), 30)
        assert found == [broker.bootstrap, "127.0.0.1:1", frozen]


async def test_one_that_hangs_up_is_not_one_that_is_away() -> None:
    """So a port for TLS or for logins takes a plain greeting."""
    async with _server(b"") as rude:
        said = await _refused(rude)
        assert said.startswith(f"the broker at {rude} does not let us in: it hung up on us")
        assert "FEWNERD_SECURITY_PROTOCOL (PLAINTEXT)" in said
        assert "hung up" in await _refused(f"127.0.0.1:1,{rude}")


async def test_tls_against_a_plain_port_is_said() -> None:
    """Whatever the port answers."""
    async with _server(b"no TLS here, I am afraid") as plain:
        assert "does not talk TLS as we do" in await _refused(plain, security_protocol="SSL")


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """Make a certificate of another host, its key beside it."""
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("no openssl to make a certificate")
    made = tmp_path / "certificate.pem"
    command = f"req -x509 -newkey rsa:2048 -nodes -subj /CN=a.example -days 1 -keyout {tmp_path}/key.pem -out {made}"
    subprocess.run([openssl, *command.split()], check=True, capture_output=True)
    return made


async def test_a_certificate_that_is_not_trusted_is_said(certificate: Path) -> None:
    """With the setting that names those to trust; one of another host is none."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, certificate.with_name("key.pem"))
    async with _server(b"", context) as server:
        said = await _refused(server, security_protocol="SSL")
        assert "its certificate is not trusted" in said
        assert "FEWNERD_SSL_CAFILE" in said
        assert "not trusted" in await _refused(server, security_protocol="SSL", ssl_cafile=str(certificate))


async def test_silence_is_silence() -> None:
    """Nobody there, or nobody who answers."""
    assert await _refused("127.0.0.1:1") == "no broker answers at 127.0.0.1:1"
    async with _server(None) as frozen:
        assert await _refused(frozen) == f"no broker answers at {frozen} within 2 s"
