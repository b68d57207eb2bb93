"""Which of the brokers given answers, and why the others do not: aiokafka itself keeps that in its log."""

from __future__ import annotations

import asyncio
import ssl
from typing import TYPE_CHECKING, Any, Final

from aiokafka import errors as kafka
from aiokafka.conn import create_conn

from fewnerd_stream.errors import BrokerError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fewnerd_stream.settings import Settings

_SILENT: Final = "silent"
"""The reason of a broker that says nothing."""


async def answering(settings: Settings, seconds: float) -> list[str]:
    """Ask all brokers given at once, and put the first that answers, and lets us in, before the others.

    One that is down or frozen costs nothing so, as long as another one is well.

    Args:
        settings: the brokers, and how to talk to them.
        seconds: longest wait.

    Raises:
        BrokerError: none does; the message says why, for each that says so.
    """
    options = settings.client_options()
    servers: list[str] = options.pop("bootstrap_servers")
    tries = {asyncio.create_task(_greet(server, options, seconds)): server for server in servers}
    reasons: dict[str, str] = {}
    try:
        for task in asyncio.as_completed(list(tries), timeout=seconds):
            server, reason = await task
            if not reason:
                return [server, *(other for other in servers if other != server)]
            reasons[server] = reason
    except TimeoutError:
        pass
    finally:
        for each in tries:
            each.cancel()
        await asyncio.gather(*tries, return_exceptions=True)
    raise BrokerError(_told(settings, reasons, seconds))


async def _greet(server: str, options: Mapping[str, Any], seconds: float) -> tuple[str, str]:
    """Connect to a broker as a client would; gives it back with the reason why it cannot be used, or nothing."""
    host, _, port = server.rpartition(":")
    try:
        connection = await create_conn(
            host.strip("[]"), int(port), request_timeout_ms=round(seconds * 1000), **options
        )
    except (kafka.KafkaError, OSError, AssertionError) as error:
        return server, _why(error, options)
    await connection.close()
    return server, ""


def _why(error: BaseException, options: Mapping[str, Any]) -> str:
    """Say what a broker's refusal means, and which setting it is about."""
    protocol, mechanism = options["security_protocol"], options.get("sasl_mechanism")
    if isinstance(error, ssl.SSLError):
        return _why_tls(error, protocol)
    if isinstance(error, kafka.SaslAuthenticationFailed | kafka.AuthenticationFailedError):
        what = f"it refused the login of {options.get('sasl_plain_username')} ({_text(error)})"
        return f"{what}: see FEWNERD_SASL_USERNAME and FEWNERD_SASL_PASSWORD"
    if isinstance(error, kafka.UnsupportedSaslMechanismError):
        return f"it does not take logins by {mechanism} ({_text(error)}): see FEWNERD_SASL_MECHANISM"
    if isinstance(error, kafka.IllegalSaslStateError):
        return f"it expects no login there: see FEWNERD_SECURITY_PROTOCOL ({protocol})"
    if isinstance(error, ConnectionResetError | kafka.KafkaConnectionError):
        # Connected, and then hung up on: so a port for TLS takes a plain greeting.
        what = "it hung up on us: it may expect TLS, a login or a certificate, or none of them"
        return f"{what}: see FEWNERD_SECURITY_PROTOCOL ({protocol})"
    return _SILENT


def _why_tls(error: ssl.SSLError, protocol: str) -> str:
    reason = error.reason or type(error).__name__
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted ({error.verify_message}): see FEWNERD_SSL_CAFILE and the host's name"
    if "CERTIFICATE" in reason:
        return f"it refused our certificate ({reason}): see FEWNERD_SSL_CERTFILE and FEWNERD_SSL_KEYFILE"
    return f"it does not talk TLS as we do ({reason}): see FEWNERD_SECURITY_PROTOCOL ({protocol})"


def _text(error: BaseException) -> str:
    return str(error) or type(error).__name__


def _told(settings: Settings, reasons: Mapping[str, str], seconds: float) -> str:
    servers = settings.bootstrap_servers
    said = {server: reason for server, reason in reasons.items() if reason != _SILENT}
    if not said:
        count = len(servers.split(","))
        return f"no broker answers at {servers}" + ("" if len(reasons) == count else f" within {seconds:g} s")
    if len(set(said.values())) == 1:
        where = ", ".join(said)
        return f"the broker at {where} does not let us in: {next(iter(said.values()))}"
    lines = "".join(f"\n  {server}: {reason}" for server, reason in said.items())
    return f"no broker lets us in:{lines}"
