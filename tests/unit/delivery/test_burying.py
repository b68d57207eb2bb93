"""A document is buried for a crash only while the model is well."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from fewnerd_stream.contract.records import Record
from fewnerd_stream.delivery.process import Processor
from fewnerd_stream.delivery.pulse import silent
from fewnerd_stream.errors import Stop
from fewnerd_stream.settings import load_settings
from tests.support.taggers import WordTagger

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fewnerd_stream.delivery.pulse import Beat

RECORD = Record("raw-documents", 0, 7, 0, b"k", b'{"id": "x", "text": "y"}')


class Broken(WordTagger):
    """Fails on everything."""

    def tag(self, texts: Sequence[str], beat: Beat = silent) -> list[list[Any]]:  # noqa: ARG002 - as its like
        """Fail."""
        raise RuntimeError(len(texts))


def test_a_document_that_never_survived_is_buried() -> None:
    """With the reason."""
    [outcome] = Processor(load_settings(), WordTagger()).crashed([RECORD])
    assert (outcome.kind, outcome.reason) == ("dead", "crash")


def test_a_broken_model_buries_nothing() -> None:
    """It may as well have been the model each time."""
    with pytest.raises(Stop):
        Processor(load_settings(), Broken()).crashed([RECORD])
