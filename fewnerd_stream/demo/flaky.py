"""A tagger around another that fails on one text for a while: the only thing that does so on purpose.

Only the demonstration and the tests put it in; no worker that is started otherwise can be given it.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from fewnerd_stream.delivery.policy import TRIES
from fewnerd_stream.delivery.pulse import silent, with_beat

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fewnerd_stream.contract.documents import EntityLike, ModelLike
    from fewnerd_stream.delivery.process import TaggerLike
    from fewnerd_stream.delivery.pulse import Beat


class FlakyTagger:
    """Fails on a text until it was attempted so many times, and then passes everything on.

    An attempt of the delivery's ends when the text stood alone in ``TRIES`` calls: those are counted. Calls
    in which it stands among others fail, too.
    """

    def __init__(self, tagger: TaggerLike, text: str, attempts: int) -> None:
        """Wrap a tagger."""
        self._tagger = tagger
        self._text = text
        self._left = attempts * TRIES
        self._lock = threading.Lock()

    @property
    def info(self) -> ModelLike:
        """The model's own."""
        return self._tagger.info

    def tag(self, texts: Sequence[str], /, beat: Beat = silent) -> Sequence[Sequence[EntityLike]]:
        """Tag, or raise RuntimeError while the text still has to fail."""
        if self._text in texts:
            with self._lock:
                fails = self._left > 0
                if len(texts) == 1:
                    self._left -= 1
            if fails:
                message = "the demonstration makes its model fail on this document"
                raise RuntimeError(message)
        return with_beat(self._tagger.tag, beat)(texts)
