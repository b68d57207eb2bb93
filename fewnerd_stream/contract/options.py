"""What the contract must be told: the settings that it reads, and no others."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, Protocol

if TYPE_CHECKING:
    from fewnerd_stream.contract.topology import Topology


class DocumentOptions(Protocol):
    """What reading a document and writing its results depends on; sizes are in bytes."""

    @property
    def group(self) -> str:
        """The consumer group."""

    @property
    def id_field(self) -> str:
        """The field of a raw document that holds its id."""

    @property
    def text_field(self) -> str:
        """The field of a raw document that holds its text."""

    @property
    def max_depth(self) -> int:
        """The deepest nesting of a raw document."""

    @property
    def max_text_bytes(self) -> int:
        """The longest text in UTF-8."""

    @property
    def max_result_bytes(self) -> int:
        """The largest record on an output topic."""

    @property
    def output_prefix(self) -> str:
        """What the output topics begin with."""

    @property
    def include_text(self) -> bool:
        """Whether results repeat the text."""

    @property
    def all_entities(self) -> bool:
        """Whether each result lists the entities of all categories."""

    @property
    def cloudevents(self) -> Literal["binary", "structured"]:
        """Where a result's CloudEvents attributes stand: in headers, or in the value."""

    @property
    def topology(self) -> Topology:
        """All topics of the group."""


class EnvelopeOptions(Protocol):
    """What retries, dead letters and replays depend on."""

    @property
    def retry_delays(self) -> tuple[float, ...]:
        """How long a document waits for each further attempt, in seconds."""

    @property
    def topology(self) -> Topology:
        """All topics of the group."""
