"""How good a bundle is, as a user runs it: texts in, decoded entities out, held against a labelled file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from model.scores import Scorer, Span, spans_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from model.tagger import Least, Tagger

_TIGHT_BEFORE: Final = frozenset(
    {",", ".", ";", ":", "!", "?", "%", ")", "]", "'s", "n't", "'m", "'re", "'ve", "'ll"}
)
_TIGHT_AFTER: Final = frozenset({"(", "[", "$", "#"})
_CLOSING_QUOTE: Final = "''"
_QUOTES: Final = frozenset({"``", _CLOSING_QUOTE, '"'})
_TEXTS_A_CALL: Final = 256


class DataError(ValueError):
    """An evaluation file cannot be used; the message says where and why."""


class Sentence(NamedTuple):
    """A labelled sentence: tokens as Few-NERD splits them, and one tag each (IO scheme)."""

    tokens: tuple[str, ...]
    tags: tuple[str, ...]


def read_sentences(path: str | Path) -> list[Sentence]:
    """Read all sentences of a JSON lines file, or of a parquet file where pyarrow is installed.

    Raises:
        DataError: the file is missing, empty or malformed, or parquet without pyarrow.
    """
    file = Path(path)
    if not file.is_file():
        raise DataError(f"{file}: no such file")
    rows = _parquet_rows(file) if file.suffix == ".parquet" else _json_rows(file)
    sentences: list[Sentence] = []
    for place, row in rows:
        tokens, tags = (_strings(row, "tokens"), _strings(row, "tags"))
        if not tokens or len(tokens) != len(tags):
            raise DataError(f"{file}, {place}: needs `tokens` and `tags`, two lists of strings of one length")
        sentences.append(Sentence(tokens, tags))
    if not sentences:
        raise DataError(f"{file}: no sentence in it")
    return sentences


def _strings(row: Any, name: str) -> tuple[str, ...]:  # noqa: ANN401 - whatever the file holds
    """Return a row's list of strings, empty where it is none."""
    value = row.get(name) if isinstance(row, dict) else None
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        return ()
    return tuple(value)


def _json_rows(file: Path) -> Iterable[tuple[str, Any]]:
    with file.open("rb") as lines:
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            try:
                yield f"line {number}", json.loads(line)
            except ValueError as error:
                raise DataError(f"{file}, line {number}: not JSON: {error}") from error


def _parquet_rows(file: Path) -> Iterable[tuple[str, Any]]:
    try:
        import pyarrow.parquet as pq  # noqa: PLC0415 - optional: only parquet needs it
    except ImportError as error:
        raise DataError(
            f"{file}: reading parquet needs pyarrow; `pip install pyarrow`, or give JSON lines"
        ) from error
    try:
        table = pq.read_table(file, columns=["tokens", "tags"])
    except (OSError, ValueError, KeyError) as error:
        raise DataError(f"{file}: {error}") from error
    for number, row in enumerate(table.to_pylist(), 1):
        yield f"row {number}", row


def join(tokens: Sequence[str], *, prose: bool = False) -> tuple[str, list[tuple[int, int]]]:
    """Return tokens as a text, and where each stands in it, in code points.

    Tokens are parted by one space; in ``prose`` as a newspaper writes them: punctuation and contractions
    close to the word before, opening brackets and ``$ #`` to the word after, and quotes as ``"`` close to
    what they enclose.
    """
    parts: list[str] = []
    spans: list[tuple[int, int]] = []
    length = 0
    tight = True
    quoted = False
    for token in tokens:
        written = token
        tight_after = False
        if prose:
            if token in _QUOTES:
                # Few-NERD writes closing quotes as `` too: so a quote closes whenever one is open.
                written = '"'
                closes = quoted or token == _CLOSING_QUOTE
                quoted = not closes
                tight, tight_after = tight or closes, not closes
            else:
                tight = tight or token in _TIGHT_BEFORE
                tight_after = token in _TIGHT_AFTER
        if not tight:
            parts.append(" ")
            length += 1
        parts.append(written)
        spans.append((length, length + len(written)))
        length += len(written)
        tight = tight_after
    return "".join(parts), spans


def evaluate(
    tagger: Tagger,
    sentences: Sequence[Sentence],
    *,
    prose: bool = False,
    least: Least | None = None,
    progress: Callable[[int], object] | None = None,
) -> dict[str, Any]:
    """Tag sentences as texts and score the entities against the gold ones, by code points.

    Args:
        tagger: a loaded bundle.
        sentences: what `read_sentences` gives.
        prose: join the tokens as a newspaper would, instead of by spaces.
        least: what counts as told; the rest of what the tagger tells is for the curve of routing alone. None for
            all of it.
        progress: called with the number of sentences done since the last call.

    Returns:
        The object of `model.scores.Scorer.report`: ``fine``, ``coarse``, ``boundary`` (each with precision,
        recall, f1 in 0..1 and support), ``routing`` (does the text belong on a category's topic: the same over
        all topics, by category, and as a curve over coarse scores), ``sentences``, ``types``, ``categories``,
        ``tokens`` (token level),
        and ``lenient`` (labels split at their first ``-``, as the reference card was scored).
    """
    coarse = {
        label: category
        for label, (category, _) in zip(tagger.bundle.labels, tagger.bundle.types, strict=True)
    }
    scorer = Scorer(coarse)
    for first in range(0, len(sentences), _TEXTS_A_CALL):
        part = sentences[first : first + _TEXTS_A_CALL]
        joined = [join(sentence.tokens, prose=prose) for sentence in part]
        found = tagger.tag([text for text, _ in joined])
        for sentence, (_, tokens), entities in zip(part, joined, found, strict=True):
            gold = [
                Span(tokens[span.start][0], tokens[span.end - 1][1], span.label)
                for span in spans_of(sentence.tags)
            ]
            told = entities if least is None else [entity for entity in entities if least.tells(entity)]
            predicted = [Span(entity.start, entity.end, entity.label) for entity in told]
            scorer.add(gold, predicted, tokens)
            sure: dict[str, float] = {}
            for entity in entities:
                sure[entity.coarse] = max(entity.coarse_score, sure.get(entity.coarse, 0.0))
            belongs = {coarse.get(span.label) or span.label.partition("-")[0] for span in gold}
            scorer.routing.add(belongs, {entity.coarse for entity in told}, sure)
        if progress is not None:
            progress(len(part))
    return scorer.report()
