"""The package itself."""

from __future__ import annotations

import subprocess
import sys

import pytest

import fewnerd_stream


def test_it_has_a_version() -> None:
    """The version is looked up when somebody asks."""
    assert fewnerd_stream.__version__[0].isdigit()
    with pytest.raises(AttributeError, match="no attribute 'no_such_thing'"):
        _ = fewnerd_stream.no_such_thing


def test_what_is_pure_needs_no_broker_and_no_model() -> None:
    """Documents, envelope and topic names import neither Faust nor a Kafka client nor a model."""
    code = (
        "import sys; from fewnerd_stream import settings; from fewnerd_stream.telemetry import logs; "
        "from fewnerd_stream.contract import documents, envelope, topology; "
        "print(sorted({'aiokafka', 'faust', 'agents', 'model', 'onnxruntime', 'numpy'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
