"""A window of records in, what is to be published out. Pure but for the model; runs in a thread."""

from __future__ import annotations

import contextlib
import dataclasses
import threading
import time
from typing import TYPE_CHECKING, Literal, Protocol

from fewnerd_stream.contract import documents, envelope
from fewnerd_stream.contract.records import size_of
from fewnerd_stream.delivery.policy import Failed, refuse_broken_model, tag_all
from fewnerd_stream.delivery.pulse import silent, with_beat
from fewnerd_stream.delivery.tagger import TaggerSlot
from fewnerd_stream.errors import Reason, Reject
from fewnerd_stream.telemetry import traces
from fewnerd_stream.telemetry.status import WorkerStatus

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from fewnerd_stream.contract.documents import Document, EntityLike, ModelLike
    from fewnerd_stream.contract.records import Outgoing, Record, Source
    from fewnerd_stream.delivery.pulse import Beat
    from fewnerd_stream.settings import Settings


# Texts of so many characters are tagged together, and a longer one alone.
_PART_CHARACTERS = 256 * 1024
_BEAT_EVERY = 1.0


class TaggerLike(Protocol):
    """What the worker needs of a tagger; ``tag`` is called from several threads at a time."""

    @property
    def info(self) -> ModelLike:
        """Say which model it is."""
        ...

    def tag(self, texts: Sequence[str], /) -> Sequence[Sequence[EntityLike]]:
        """Find the entities of each text.

        Where it has a parameter ``beat``, it is expected to call that after each step of its work, from any thread;
        otherwise all of a call must be done within ``FEWNERD_INFERENCE_TIMEOUT``.
        """
        ...


@dataclasses.dataclass(frozen=True, slots=True)
class Outcome:
    """What came of one input: the records that must all be stored before it is handed over."""

    kind: Literal["enriched", "retried", "dead"]
    outgoing: tuple[Outgoing, ...]
    reason: str = ""
    # Category and `coarse_score` of each entity found.
    scores: tuple[tuple[str, float], ...] = ()
    # When an enriched document came to its input topic, in milliseconds since the epoch.
    since: int | None = None
    # The model that was asked.
    digest: str = ""


class Processor:
    """Decodes, tags and encodes windows of records."""

    def __init__(
        self,
        settings: Settings,
        tagger: TaggerLike | TaggerSlot[TaggerLike],
        status: WorkerStatus | None = None,
    ) -> None:
        """Keep the settings, the tagger or what gives it, and where to tell how long things take."""
        self._settings = settings
        self._status = status or WorkerStatus(settings)
        self._slot = tagger if isinstance(tagger, TaggerSlot) else TaggerSlot(tagger)
        self._long = threading.Lock()
        # A bundle of one's own may know no person and no place, and settings may let neither be told.
        self._must_find = settings.model is None and settings.labels is None and settings.thresholds is None

    def process(self, records: Sequence[Record], beat: Beat = silent) -> list[Outcome]:
        """Return the outcome of every record, in order; call ``beat`` after each step, as a sign of life.

        Raises:
            Stop: the model fails on a known-good sentence too; nothing may be handed over.
        """
        with self._slot.lease() as tagger, traces.window(records, self._settings.group) as trace:
            return self._processed(records, beat, tagger, trace)

    def _processed(
        self, records: Sequence[Record], beat: Beat, tagger: TaggerLike, trace: traces.Untraced
    ) -> list[Outcome]:
        settings, status = self._settings, self._status
        decoded: list[Document | Reject] = []
        with status.timed("decode"):
            sources = [envelope.source_of(record, settings) for record in records]
            for record in records:
                try:
                    decoded.append(documents.decode(record.value, settings))
                except Reject as error:
                    decoded.append(error)
                beat()
        outcomes: list[Outcome] = []
        # Each part is written down as it is tagged: a megabyte of text may have entities of a hundred.
        for part in _in_parts(decoded):
            with self._one_at_a_time(decoded[part], beat):
                outcomes += self._tagged(
                    records[part], sources[part], decoded[part], beat, tagger, trace=trace
                )
        return outcomes

    @contextlib.contextmanager
    def _one_at_a_time(self, decoded: Sequence[Document | Reject], beat: Beat) -> Iterator[None]:
        """Wait while a long text of another window is at work, if this is one: it keeps all threads busy itself."""
        if sum(len(one.text) for one in decoded if not isinstance(one, Reject)) <= _PART_CHARACTERS:
            yield
            return
        while not self._long.acquire(timeout=_BEAT_EVERY):
            beat()
        try:
            yield
        finally:
            self._long.release()

    def _tagged(
        self,
        records: Sequence[Record],
        sources: Sequence[Source],
        decoded: Sequence[Document | Reject],
        beat: Beat,
        tagger: TaggerLike,
        *,
        trace: traces.Untraced,
    ) -> Iterator[Outcome]:
        """Tag and write down a part of a window."""
        status = self._status
        good = [document.text for document in decoded if not isinstance(document, Reject)]
        with status.timed("tag"):
            found = tag_all(good, with_beat(tagger.tag, beat), must_find=self._must_find)
        found.reverse()
        with status.timed("encode"):
            for record, source, document in zip(records, sources, decoded, strict=True):
                beat()
                if isinstance(document, Reject):
                    yield self._dead(
                        record, source, document.reason, document.stage, document, digest=tagger.info.digest
                    )
                    continue
                entities = found.pop()
                if isinstance(entities, Failed):
                    yield self._failed(record, source, entities, tagger.info.digest)
                else:
                    yield self._enriched(record, source, document, entities, tagger.info, trace=trace)

    def crashed(self, records: Sequence[Record], beat: Beat = silent) -> list[Outcome]:
        """Return the outcome of records that took their process with them whenever they were tried.

        Raises:
            Stop: the model fails on a known-good sentence too, so it is the model's fault.
        """
        # A model that hangs or kills the process on this sentence does so here, and the records stay.
        with self._slot.lease() as tagger, traces.window(records, self._settings.group):
            refuse_broken_model(with_beat(tagger.tag, beat), must_find=self._must_find)
        sources = [envelope.source_of(record, self._settings) for record in records]
        return [
            self._dead(record, source, Reason.CRASH, "model", None, digest=tagger.info.digest)
            for record, source in zip(records, sources, strict=True)
        ]

    def too_large(self, record: Record, outcome: Outcome, refused: Outgoing, why: str) -> Outcome:
        """Return what becomes of a record in place of an outcome that a topic refuses for its size.

        Args:
            record: as read.
            outcome: what was to become of it.
            refused: the part of it that was refused.
            why: what the broker or the client said.
        """
        what = f"it was {outcome.kind}" + (f" ({outcome.reason})" if outcome.reason else "")
        message = f"{refused.topic} does not take its {size_of(refused)} bytes; {what}: {why}"
        source = envelope.source_of(record, self._settings)
        error = Reject(Reason.RECORD_TOO_LARGE, message, "publish")
        return self._dead(record, source, error.reason, error.stage, error, digest=outcome.digest)

    def _enriched(
        self,
        record: Record,
        source: Source,
        document: Document,
        entities: Sequence[EntityLike],
        model: ModelLike,
        *,
        trace: traces.Untraced,
    ) -> Outcome:
        settings = self._settings
        began = time.time_ns()
        try:
            outgoing = documents.encode(record, source, document, entities, model, settings)
        except Reject as error:
            return self._dead(record, source, error.reason, error.stage, error, digest=model.digest)
        for made in outgoing:
            size = size_of(made)
            if size > settings.max_result_bytes:
                message = (
                    f"the enriched record for {made.topic} takes {size:,} bytes; "
                    f"FEWNERD_MAX_RESULT_BYTES allows {settings.max_result_bytes:,}"
                )
                refused = Reject(Reason.RESULT_TOO_LARGE, message, "encode")
                return self._dead(record, source, refused.reason, refused.stage, refused, digest=model.digest)
        # One header more at most: the limit that is checked leaves more room than that.
        outgoing = trace.created(record, outgoing, began)
        scores = tuple((entity.coarse, entity.coarse_score) for entity in entities)
        return Outcome("enriched", outgoing, scores=scores, since=source.timestamp, digest=model.digest)

    def _failed(self, record: Record, source: Source, failure: Failed, digest: str) -> Outcome:
        again = envelope.retry_record(record, source, self._settings, int(time.time() * 1000))
        if again is not None:
            return Outcome("retried", (again,), digest=digest)
        return self._dead(record, source, Reason.MODEL_ERROR, "model", failure.cause, digest=digest)

    def _dead(
        self,
        record: Record,
        source: Source,
        reason: Reason,
        stage: str,
        error: BaseException | None,
        *,
        digest: str,
    ) -> Outcome:
        if reason.withholds and isinstance(error, Reject):
            withheld = envelope.withheld_record(record, source, error, digest, self._settings)
            return Outcome("dead", (withheld,), str(reason), digest=digest)
        letter = envelope.dead_record(record, source, reason, stage, error, digest, self._settings)
        return Outcome("dead", (letter,), str(reason), digest=digest)


def _in_parts(decoded: Sequence[Document | Reject]) -> Iterator[slice]:
    """Cut a window where the texts of a part become long."""
    begin = length = 0
    for number, document in enumerate(decoded):
        more = 0 if isinstance(document, Reject) else len(document.text)
        if number > begin and length + more > _PART_CHARACTERS:
            yield slice(begin, number)
            begin, length = number, 0
        length += more
    yield slice(begin, len(decoded))
