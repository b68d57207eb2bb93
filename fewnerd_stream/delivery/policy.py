"""What happens when the model fails: try again, split until the culprit stands alone, or hold everything.

Errors are of three kinds. *Reject* is the document's own fault and decided before the model sees it.
*Retry* is a document on which the model fails; it leaves for a retry topic. *Stop* is not the document's
fault: the model fails on a known-good sentence too, so nothing may be handed over.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from fewnerd_stream.errors import Stop

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from fewnerd_stream.contract.documents import EntityLike

    Tag = Callable[[Sequence[str]], Sequence[Sequence[EntityLike]]]

KNOWN_GOOD = "Angela Merkel flew to Paris."
TRIES = 2
CANARY_TRIES = 3


class Failed(Exception):  # noqa: N818 - an outcome, carried as data and never raised
    """The model failed on this one document while it worked on a known-good sentence."""

    def __init__(self, cause: BaseException) -> None:
        """Keep the model's own error as the cause."""
        super().__init__(f"{type(cause).__name__}: {cause}")
        self.cause = cause


def tag_all(texts: Sequence[str], tag: Tag, *, must_find: bool = True) -> list[Sequence[EntityLike] | Failed]:
    """Tag every text, isolating those on which the model fails.

    Args:
        texts: the documents' texts.
        tag: the tagger; it may raise anything, and may do so at random.
        must_find: whether a model that finds nothing in the known-good sentence is broken.

    Returns:
        For each text its entities, or ``Failed`` with the model's error.

    Raises:
        Stop: the model fails on a known-good sentence too.
    """
    if not texts:
        return []
    error: Exception | None = None
    for _ in range(TRIES):
        try:
            return list(_checked(texts, tag))
        except Exception as caught:  # noqa: BLE001 - a model may fail in any way
            error = caught
    refuse_broken_model(tag, must_find=must_find)
    if len(texts) == 1:
        assert error is not None  # noqa: S101 - for the type checker: TRIES is not zero
        return [Failed(error)]
    half = len(texts) // 2
    return [
        *tag_all(texts[:half], tag, must_find=must_find),
        *tag_all(texts[half:], tag, must_find=must_find),
    ]


def _checked(texts: Sequence[str], tag: Tag) -> Sequence[Sequence[EntityLike]]:
    found = tag(texts)
    if len(found) != len(texts):
        message = f"the tagger gave {len(found)} results for {len(texts)} texts"
        raise ValueError(message)
    return found


def refuse_broken_model(tag: Tag, *, must_find: bool = True) -> None:
    """Try the model on a known-good sentence.

    Raises:
        Stop: it fails on that, too, or finds nothing in it where it must.
    """
    for attempt in range(CANARY_TRIES):
        try:
            (found,) = _checked([KNOWN_GOOD], tag)
            if must_find and not found:
                message = f"it finds nothing in {KNOWN_GOOD!r}"
                raise ValueError(message)  # noqa: TRY301 - failing and finding nothing are the same here
        except Exception as error:
            if attempt == CANARY_TRIES - 1:
                message = f"the model fails on a known-good sentence too: {type(error).__name__}: {error}"
                raise Stop(message) from error
        else:
            return
