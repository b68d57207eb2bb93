"""The tagger in use: one for a whole window, and the one before ended when nobody is at work with it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fewnerd_stream.contract.records import Record
from fewnerd_stream.delivery.process import Processor
from fewnerd_stream.delivery.pulse import silent
from fewnerd_stream.delivery.tagger import TaggerSlot
from fewnerd_stream.settings import load_settings
from tests.support.taggers import Info, WordTagger

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tests.support.taggers import Found


def test_the_one_before_ends_with_its_last_window() -> None:
    """Not while a window is at work with it, once, and at once where none is."""
    ended: list[str] = []
    slot = TaggerSlot("a")
    with slot.lease() as first:
        with slot.lease() as second:
            slot.switch("b", lambda: ended.append("a"))
            assert (first, second, slot.current) == ("a", "a", "b")
        assert ended == []
        with slot.lease() as third:
            assert third == "b"
    assert ended == ["a"]
    slot.switch("c", lambda: ended.append("b"))
    assert ended == ["a", "b"]


class _Named(WordTagger):
    """Says that it is another model."""

    def __init__(self, digest: str) -> None:
        self.info = Info(digest=digest)


class _Switching(_Named):
    """Is replaced in the middle of its work."""

    def __init__(self, slot: list[TaggerSlot[WordTagger]]) -> None:
        super().__init__("old")
        self._slot = slot

    def tag(self, texts: Sequence[str], beat: Callable[[], None] = silent) -> list[list[Found]]:
        """Tag, and have a successor before it comes back."""
        self._slot[0].switch(_Named("new"), lambda: None)
        return super().tag(texts, beat)


def test_one_window_is_one_models() -> None:
    """Its entities, its digest and its dead letters, though another model came while it was at work."""
    box: list[TaggerSlot[WordTagger]] = []
    slot: TaggerSlot[WordTagger] = TaggerSlot(_Switching(box))
    box.append(slot)
    processor = Processor(load_settings(), slot)  # type: ignore[arg-type]  # a slot of a narrower tagger
    records = [
        Record("raw-documents", 0, 0, 0, b"1", b'{"id": "1", "text": "Paris"}'),
        Record("raw-documents", 0, 1, 0, b"2", b"no JSON"),
    ]
    for digest in ("old", "new"):
        enriched, dead = processor.process(records)
        assert digest.encode() in (enriched.outgoing[0].value or b"")
        assert ("__fewnerd.model", digest.encode()) in dead.outgoing[0].headers
        assert {enriched.digest, dead.digest} == {digest}
