"""The tree of errors."""

from __future__ import annotations

import pickle
import re

from fewnerd_stream import errors
from fewnerd_stream.errors import FewnerdError, Reason, Reject


def test_there_is_one_tree() -> None:
    """Whatever this package raises on purpose can be caught as one."""
    classes = [
        thing for thing in vars(errors).values() if isinstance(thing, type) and issubclass(thing, Exception)
    ]
    assert len(classes) > 1
    assert all(issubclass(one, FewnerdError) for one in classes)


def test_reasons_read_the_same_everywhere() -> None:
    """A reason's name in a header, in a filter of the command line and in the code is one word."""
    assert all(re.fullmatch(r"[a-z0-9-]+", reason) for reason in Reason)
    assert all(reason.name.lower().replace("_", "-") == reason for reason in Reason)


def test_a_rejection_crosses_a_process_boundary() -> None:
    """Its reason, stage and message survive pickling."""
    copy = pickle.loads(pickle.dumps(Reject(Reason.NAN, "NaN is no JSON number", "encode")))
    assert (copy.reason, copy.stage, str(copy)) == (Reason.NAN, "encode", "NaN is no JSON number")
