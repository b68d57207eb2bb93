"""What every section is given: the model, the texts, how much is asked of it, and where to say what is done."""

from __future__ import annotations

import dataclasses
import functools
import shutil
import sys
import tempfile
import time
from typing import TYPE_CHECKING, Any, Final

from benchmarks.texts import Texts
from model.bundle import FUSED, Bundle, open_bundle
from model.pieces import Encoder
from model.tagger import Tagger

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

KINDS: Final = ("sentences", "articles", "mix")
FEW_NERD: Final = "few-nerd"


@dataclasses.dataclass(frozen=True)
class Context:
    """The run as a section sees it.

    Attributes:
        model: the bundle's folder, None for the one that ships.
        short: whether only to show that everything runs.
        rounds: interleaved rounds.
        seconds: for each contender in each round.
        data: a labelled file of real sentences to measure on as well, None for none.
    """

    model: Path | None
    short: bool
    rounds: int
    seconds: float
    data: Path | None = None

    @functools.cached_property
    def bundle(self) -> Bundle:
        """The bundle that everything is measured with."""
        return open_bundle(self.model)

    @functools.cached_property
    def texts(self) -> Texts:
        """The one stream of texts of this process: none is given twice."""
        return Texts(int(time.time()))

    @functools.cached_property
    def encoder(self) -> Encoder:
        """What counts word pieces: one of its own, so that the tagger's table stays as its texts make it."""
        return Encoder(self.bundle.tokenizer, self.bundle.vocabulary, self.bundle.case_classes)

    def pieces(self, texts: Sequence[str]) -> int:
        """Return how many word pieces texts have, the tokenizer's special ones not counted."""
        return sum(len(self.encoder.encode(texts[i : i + 64]).ids) for i in range(0, len(texts), 64))

    def draw(self, kind: str) -> Callable[[int], list[str]]:
        """Return what gives so many new texts of a kind."""
        if kind == FEW_NERD:
            assert self.data is not None
            return _Sentences(self.data)
        made: Callable[[int], list[str]] = getattr(self.texts, kind)
        return made

    def tagger(self, threads: int | None = None, *, fused: bool = True) -> Tagger:
        """Load the tagger; without its fused graph if asked."""
        if fused or not (self.bundle.folder / FUSED).is_file():
            return Tagger.load(self.bundle.folder, threads=threads)
        with tempfile.TemporaryDirectory() as folder:
            shutil.copytree(
                self.bundle.folder, folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns(FUSED)
            )
            # The graph is read whole when it is opened: the copy is not needed any more.
            return Tagger.load(folder, threads=threads, check=False)

    def choose(self, full: Any, short: Any) -> Any:  # noqa: ANN401 - any two of a kind
        """Return the first in a full run, the second in a short one."""
        return short if self.short else full

    def say(self, message: str) -> None:
        """Tell the user, with the time."""
        print(f"{time.strftime('%H:%M:%S')} {message}", file=sys.stderr, flush=True)


class _Sentences:
    """Real sentences, joined as a newspaper would; each given once, then refused."""

    def __init__(self, path: Path) -> None:
        from model.evaluate import join, read_sentences  # noqa: PLC0415 - only here

        self._left = [join(sentence.tokens, prose=True)[0] for sentence in read_sentences(path)]

    def __call__(self, count: int) -> list[str]:
        given, self._left = self._left[:count], self._left[count:]
        return given
