"""Typed settings: each has an environment name, a default, bounds and a one-line meaning.

Read from ``FEWNERD_<NAME>`` in the environment, then from the TOML file that ``FEWNERD_CONFIG`` names.
"""

from __future__ import annotations

import json
import ssl
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, Final, Literal
from urllib.parse import quote

from pydantic import Field, FilePath, SecretStr, field_validator
from pydantic_settings import (
    BaseSettings,
    NoDecode,
    SettingsConfigDict,
)

from fewnerd_stream.contract.topology import Topology
from fewnerd_stream.errors import SettingsError
from fewnerd_stream.settings import private
from fewnerd_stream.settings.parsing import PREFIX, check_address, check_servers, items
from fewnerd_stream.settings.secrets import MASK, Hidden, hide_logins

MIB: Final = 1024 * 1024
_MOST_BYTES: Final = 2**30
_LONGEST_DELAY: Final = 86_400.0


def _default_health_file(data: dict[str, Any]) -> Path:
    """Name the file after the user, group and member, so that neighbours on one host keep apart."""
    name = "-".join(filter(None, (data.get("group"), data.get("instance_id"))))
    return private.folder() / f"{quote(name, safe='')}.json"


class Fields(BaseSettings):
    """The fields of `Settings`, each checked alone; times are in seconds, sizes in bytes."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, env_ignore_empty=True, extra="forbid", frozen=True, hide_input_in_errors=True
    )

    bootstrap_servers: str = Field(
        "localhost:9092", description="Kafka brokers to start from: host:port, commas between"
    )
    input_topics: Annotated[tuple[str, ...], NoDecode] = Field(
        ("raw-documents",), min_length=1, description="topics to read raw documents from, commas between"
    )
    output_prefix: str = Field(
        "entities", description="enriched documents go to <prefix>.<category> and <prefix>.none"
    )
    group: str = Field(
        "fewnerd-stream",
        min_length=1,
        max_length=200,
        description="consumer group that shares the partitions; its retry topics and dead letters carry its name",
    )
    instance_id: str | None = Field(
        None,
        pattern=r"^[A-Za-z0-9._-]{1,200}$",
        description="this worker's own name in the group: then a quick restart moves no partition",
    )
    id_field: str = Field("id", min_length=1, description="field of a raw document that holds its id")
    text_field: str = Field("text", min_length=1, description="field of a raw document that holds its text")
    start: Literal["earliest", "latest"] = Field("earliest", description="where a new group starts reading")
    isolation: Literal["read_committed", "read_uncommitted"] = Field(
        "read_committed", description="whether to skip records of transactions that were not committed"
    )
    allow_loss: bool = Field(
        default=False, description="go on when the log's start has passed the commit, and documents are lost"
    )

    model: str | None = Field(
        None,
        min_length=1,
        description="model bundle: a folder, a file that names one, or a hub name; unset: the bundled model",
    )
    model_watch: float = Field(
        5.0,
        ge=0,
        le=86_400,
        description="time between looks at the model's folder, or the file that names it, for another model; "
        "0: only on SIGHUP",
    )
    threads: int | None = Field(
        None, ge=1, le=1024, description="threads for inference; unset: all permitted cores"
    )
    thresholds: Annotated[float | dict[str, float] | None, NoDecode] = Field(
        None,
        description="lowest score of an entity that is told and routed: name=number with commas between, a "
        "category's for coarse_score, a label's for score; or one number, for each category; unset: the bundle's "
        "own, 0: whatever is found",
    )
    labels: Annotated[tuple[str, ...] | None, NoDecode] = Field(
        None, description="labels or categories to find, commas between; unset: all of the model's"
    )
    include_text: bool = Field(default=True, description="repeat the text in the enriched document")
    all_entities: bool = Field(
        default=False,
        description="put the entities of all categories into each enriched document, not only its own",
    )

    cloudevents: Literal["binary", "structured"] = Field(
        "binary",
        description="where an enriched document's CloudEvents attributes stand: in headers, or in the value around it",
    )

    window_size: int = Field(
        128, ge=1, le=10_000, description="most documents in a window, which is tagged as one"
    )
    window_time: float = Field(0.05, gt=0, le=60, description="longest wait for a window to fill")
    windows_in_flight: int = Field(
        3, ge=1, le=64, description="windows at work at a time; 2 or more keep the model busy"
    )
    max_poll_records: int = Field(
        64,
        ge=1,
        le=10_000,
        description="most records of a partition in a round of reading, in which all have their turn",
    )

    retry_delays: Annotated[tuple[float, ...], NoDecode] = Field(
        (5.0, 60.0, 600.0),
        min_length=1,
        max_length=16,
        description="delay of each retry topic, ascending, commas between; after the last a document is dead",
    )
    partitions: int = Field(
        4, ge=1, le=10_000, description="partitions of a topic that `topics create` makes"
    )
    replication: int = Field(1, ge=1, le=32, description="replicas of a topic that `topics create` makes")
    min_insync_replicas: int = Field(
        1, ge=1, le=32, description="replicas that must store a record before it counts"
    )
    compression: Literal["none", "gzip", "snappy", "lz4", "zstd"] = Field(
        "lz4", description="compression of what is published"
    )

    idempotence: bool = Field(
        default=True,
        description="let the producer retry without repeats; off only for a broker that does not know it",
    )

    max_text_bytes: int = Field(
        MIB, ge=1, le=_MOST_BYTES, description="longest text in UTF-8; a longer one is rejected"
    )
    max_depth: int = Field(
        200, ge=1, le=1000, description="deepest nesting of a raw document; a deeper one is rejected"
    )
    max_message_bytes: int = Field(
        2 * MIB, ge=1024, le=_MOST_BYTES, description="largest record on an input topic"
    )
    max_result_bytes: int = Field(
        8 * MIB,
        ge=1024,
        le=_MOST_BYTES,
        description="largest enriched record; a document with a larger one is rejected",
    )

    session_timeout: float = Field(
        10.0, ge=1, le=1800, description="silence after which the group gives a worker up"
    )
    heartbeat_interval: float = Field(
        3.0, ge=0.1, le=600, description="time between signs of life to the group"
    )
    rebalance_timeout: float = Field(
        60.0, ge=1, le=3600, description="longest wait for a worker when the group changes"
    )
    request_timeout: float = Field(30.0, ge=1, le=1200, description="longest wait for a broker's answer")
    drain: float = Field(
        10.0, ge=0, le=600, description="longest wait for windows at work at a stop or a rebalance"
    )
    inference_timeout: float = Field(
        120.0,
        ge=1,
        le=3600,
        description="longest time without a sign of life of the model before it counts as hung",
    )
    patience: float = Field(
        300.0, ge=1, le=86_400, description="time without progress after which the worker exits"
    )

    security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = Field(
        "PLAINTEXT", description="how to talk to the brokers"
    )
    ssl_cafile: FilePath | None = Field(None, description="certificates to trust, PEM; unset: the system's")
    ssl_certfile: FilePath | None = Field(None, description="our own certificate for the brokers, PEM")
    ssl_keyfile: FilePath | None = Field(
        None, description="our certificate's key, PEM; unset: in the certificate's file"
    )
    ssl_password: SecretStr | None = Field(None, description="the key's password")
    sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] | None = Field(
        None, description="how to log in, with a SASL_ protocol"
    )
    sasl_username: str | None = Field(None, min_length=1, description="the name to log in with")
    sasl_password: SecretStr | None = Field(None, description="the password to log in with")

    log_format: Literal["text", "json"] = Field("text", description="log lines for people or for programs")
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="least level that is logged"
    )
    health_file: Path = Field(
        default_factory=_default_health_file,
        description="where a worker writes how it is; set it where workers of one group share a host",
    )

    http: str | None = Field(
        None,
        description="where a worker answers /metrics, /live and /ready: host:port, 0.0.0.0 for all addresses; "
        "unset: nowhere",
    )

    @field_validator("input_topics", "labels", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        """Take commas between items, or a JSON list."""
        return items(value) if isinstance(value, str) else value

    @field_validator("retry_delays", mode="before")
    @classmethod
    def _numbers(cls, value: object) -> object:
        """Take commas between numbers, a JSON list, or a single number."""
        if isinstance(value, int | float) and not isinstance(value, bool):
            return (value,)
        return items(value) if isinstance(value, str) else value

    @field_validator("thresholds", mode="before")
    @classmethod
    def _table(cls, value: object) -> object:
        """Take one number, ``label=number`` with commas between, or a JSON object."""
        if not isinstance(value, str) or "=" not in value:
            return json.loads(value) if isinstance(value, str) and value.lstrip().startswith("{") else value
        pairs = [item.partition("=") for item in items(value)]
        return {label.strip(): number.strip() for label, _, number in pairs}

    @field_validator("thresholds")
    @classmethod
    def _scores(cls, value: float | dict[str, float] | None) -> float | dict[str, float] | None:
        if value is None:
            return None
        scores = value.values() if isinstance(value, dict) else (value,)
        if not all(0 <= score <= 1 for score in scores):
            message = "a score lies between 0 and 1"
            raise ValueError(message)
        return value

    @field_validator("labels")
    @classmethod
    def _labels(cls, value: tuple[str, ...] | None) -> tuple[str, ...] | None:
        if value is not None and not value:
            message = "names no label; leave it unset for all"
            raise ValueError(message)
        return value

    @field_validator("bootstrap_servers")
    @classmethod
    def _servers(cls, value: str) -> str:
        return check_servers(value)

    @field_validator("http")
    @classmethod
    def _address(cls, value: str | None) -> str | None:
        return None if value is None else check_address(value)

    @field_validator("retry_delays")
    @classmethod
    def _ascending(cls, value: tuple[float, ...]) -> tuple[float, ...]:
        if any(later <= earlier for earlier, later in pairwise(value)):
            message = "the delays must ascend"
            raise ValueError(message)
        if not all(0 < delay <= _LONGEST_DELAY for delay in value):
            message = "each delay lies above 0 and within a day (86400)"
            raise ValueError(message)
        return value

    @cached_property
    def topology(self) -> Topology:
        """All topics of this group: their names and roles."""
        return Topology(
            self.group,
            self.input_topics,
            retries=len(self.retry_delays),
            output_prefix=self.output_prefix,
        )

    def client_options(self) -> dict[str, Any]:
        """Give the arguments that every aiokafka client takes: where the brokers are and how to talk to them.

        Raises:
            SettingsError: a certificate or key cannot be used.
        """
        options: dict[str, Any] = {
            "bootstrap_servers": self.bootstrap_servers.split(","),
            "security_protocol": self.security_protocol,
        }
        if self.security_protocol.endswith("SSL"):
            options["ssl_context"] = self._ssl_context()
        if self.security_protocol.startswith("SASL"):
            options["sasl_mechanism"] = self.sasl_mechanism
            options["sasl_plain_username"] = self.sasl_username
            options["sasl_plain_password"] = self.sasl_password and Hidden(
                self.sasl_password.get_secret_value()
            )
            hide_logins()
        return options

    def _ssl_context(self) -> ssl.SSLContext:
        try:
            context = ssl.create_default_context(cafile=self.ssl_cafile)
        except OSError as error:
            message = f"{PREFIX}SSL_CAFILE: {self.ssl_cafile}: {error}"
            raise SettingsError(message) from error
        if self.ssl_certfile is not None:
            password = self.ssl_password.get_secret_value() if self.ssl_password else ""
            try:
                context.load_cert_chain(self.ssl_certfile, self.ssl_keyfile, lambda: password)
            except OSError as error:
                message = f"{PREFIX}SSL_CERTFILE, {PREFIX}SSL_KEYFILE or {PREFIX}SSL_PASSWORD: {error}"
                raise SettingsError(message) from error
        return context

    def describe(self) -> dict[str, str]:
        """Give each setting's value as one would write it into the environment, secrets masked."""
        return {name: shown(getattr(self, name)) for name in type(self).model_fields}


def shown(value: object) -> str:
    """Write a value as one would into the environment."""
    if isinstance(value, tuple):
        return ",".join(map(shown, value))
    if isinstance(value, dict):
        return ",".join(f"{key}={shown(item)}" for key, item in value.items())
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, SecretStr):
        return MASK
    return f"{value:g}" if isinstance(value, float) else str("" if value is None else value)
