"""The errors of this package: one small closed tree, and why a document ends among the dead letters.

Nothing is imported from the rest of the package, so that everything may import this.
"""

from __future__ import annotations

from enum import StrEnum


class Reason(StrEnum):
    """Why a document went to the dead letters; a closed list, written into the record's headers."""

    TOMBSTONE = "tombstone"
    INVALID_UTF8 = "invalid-utf8"
    NOT_JSON = "not-json"
    NAN = "nan"
    UNPAIRED_SURROGATE = "unpaired-surrogate"
    NOT_AN_OBJECT = "not-an-object"
    MISSING_FIELD = "missing-field"
    WRONG_TYPE = "wrong-type"
    BLANK_TEXT = "blank-text"
    TOO_DEEP = "too-deep"
    TEXT_TOO_LARGE = "text-too-large"
    RESULT_TOO_LARGE = "result-too-large"
    RECORD_TOO_LARGE = "record-too-large"
    UNREADABLE = "unreadable"
    MODEL_ERROR = "model-error"
    CRASH = "crash"

    @property
    def withholds(self) -> bool:
        """Whether such a letter is without its value, which found no room or was never read."""
        return self in {Reason.RECORD_TOO_LARGE, Reason.UNREADABLE}


class FewnerdError(Exception):
    """The root of everything that this package raises on purpose."""


class BundleRefused(FewnerdError):  # noqa: N818 - what happened to the bundle
    """A model bundle that cannot be used here."""


class SettingsError(FewnerdError):
    """Settings that cannot be used; the message names each of them."""


class BrokerError(FewnerdError):
    """No broker could be reached, or it would not talk to us."""


class TopicsError(FewnerdError):
    """Topics that are missing or set up so that documents would be lost; the message names each of them."""


class Reject(FewnerdError):  # noqa: N818 - the name of the kind of error, as in reject, retry, stop
    """A document that no retry can help: it goes to the dead letters at once."""

    def __init__(self, reason: Reason, message: str, stage: str = "decode") -> None:
        """Keep the reason and the stage of the work at which it was found: ``decode`` or ``encode``."""
        super().__init__(message)
        self.reason = reason
        self.stage = stage

    def __reduce__(self) -> tuple[type[Reject], tuple[Reason, str, str]]:
        """Let it cross a process boundary whole."""
        return type(self), (self.reason, str(self), self.stage)


class Stop(FewnerdError):  # noqa: N818 - the name of the kind of error, as in reject, retry, stop
    """A failure that is not the document's fault: hold the offsets, back off, and wait."""
