"""What a graph reads beside its own file is found in its bytes, and refused where the digest cannot cover it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper

from model import outside
from model.bundle import BundleError, open_bundle
from model.graph import Graph
from tests.unit.model.conftest import write_small

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def tensor(location: str, name: str = "w") -> TensorProto:
    """Make a tensor that lies in a file."""
    made = TensorProto(name=name, data_type=TensorProto.FLOAT, dims=[2], data_location=TensorProto.EXTERNAL)
    for key, value in (("location", location), ("offset", "0"), ("length", "8")):
        entry = made.external_data.add()
        entry.key, entry.value = key, value
    return made


def model(**parts: Any) -> onnx.ModelProto:
    """Make a model around a graph of some parts."""
    return onnx.ModelProto(ir_version=8, graph=onnx.GraphProto(name="g", **parts))


def graph(location: str) -> bytes:
    """Return the bytes of a graph whose weights lie in a file."""
    found: bytes = model(initializer=[tensor(location)]).SerializeToString()
    return found


def with_attribute(**value: Any) -> onnx.ModelProto:
    """Make a model whose node has an attribute."""
    return model(node=[onnx.NodeProto(op_type="X", attribute=[onnx.AttributeProto(name="a", **value)])])


def _inner() -> onnx.GraphProto:
    return onnx.GraphProto(name="i", initializer=[tensor("w.bin")])


def _function() -> onnx.ModelProto:
    made = model()
    node = onnx.NodeProto(
        op_type="Constant", attribute=[onnx.AttributeProto(name="value", t=tensor("w.bin"))]
    )
    made.functions.add(name="f", node=[node])
    return made


def _training() -> onnx.ModelProto:
    made = model()
    made.training_info.add(initialization=_inner())
    return made


HIDDEN: dict[str, Callable[[], onnx.ModelProto]] = {
    "initializer": lambda: model(initializer=[tensor("w.bin")]),
    "sparse": lambda: model(
        sparse_initializer=[onnx.SparseTensorProto(values=tensor("w.bin"), indices=TensorProto())]
    ),
    "constant": lambda: with_attribute(t=tensor("w.bin")),
    "constants": lambda: with_attribute(tensors=[TensorProto(), tensor("w.bin")]),
    "branch": lambda: with_attribute(g=_inner()),
    "branches": lambda: with_attribute(graphs=[onnx.GraphProto(), _inner()]),
    "sparse constant": lambda: with_attribute(sparse_tensor=onnx.SparseTensorProto(indices=tensor("w.bin"))),
    "function": _function,
    "training": _training,
}


@pytest.mark.parametrize("place", HIDDEN)
def test_weights_are_found_wherever_they_hide(tmp_path: Path, place: str) -> None:
    """In branches, constants, functions, sparse tensors, and what is only for training."""
    path = tmp_path / "model.onnx"
    path.write_bytes(HIDDEN[place]().SerializeToString())
    assert outside.names(path) == ["w.bin"]


def test_the_bundled_graphs_read_nothing_outside(bundled: Path) -> None:
    """The plain graph holds its weights; the fused one takes them from it."""
    assert outside.files(bundled / "model.onnx") == []
    assert [path.name for path in outside.files(bundled / "fused.onnx")] == ["model.onnx"]


@pytest.mark.parametrize(
    "location",
    [
        "../w.bin",
        "sub/w.bin",
        "/etc/passwd",
        "..",
        ".",
        "",
        "a\\w.bin",
        "w\x00.bin",
        "\x1b[2J",
        "x" * 5000,
        "gone.bin",
    ],
)
@pytest.mark.parametrize("name", ["model.onnx", "fused.onnx"])
def test_weights_outside_the_folder_are_refused(tmp_path: Path, name: str, location: str) -> None:
    """By either graph, with a message that can be shown."""
    (tmp_path / "w.bin").write_bytes(b"12345678")
    folder = write_small(tmp_path / "b")
    (folder / "sub").mkdir()
    (folder / "sub" / "w.bin").write_bytes(b"12345678")
    (folder / "model.onnx").write_bytes(
        helper.make_model(helper.make_graph([], "g", [], [])).SerializeToString()
    )
    (folder / name).write_bytes(graph(location))
    with pytest.raises(BundleError, match="keeps weights in") as refused:
        Graph.open(open_bundle(folder))
    assert str(refused.value).isprintable()
    assert len(str(refused.value)) < 500


def test_links_to_weights_are_refused(tmp_path: Path) -> None:
    """What they lead to may change when the bundle does not, and may be anybody's."""
    folder = write_small(tmp_path / "b")
    (folder / "model.onnx").write_bytes(graph("w.bin"))
    (tmp_path / "real.bin").write_bytes(b"12345678")
    (folder / "w.bin").symlink_to(tmp_path / "real.bin")
    with pytest.raises(BundleError, match="which is a link"):
        Graph.open(open_bundle(folder))


def test_a_hubs_cache_of_links_is_a_folder_like_any(tmp_path: Path) -> None:
    """There the graph is a link itself, and its weights lie beside what it leads to."""
    blobs, folder = tmp_path / "blobs", tmp_path / "snapshot"
    blobs.mkdir()
    folder.mkdir()
    (blobs / "one").write_bytes(graph("model.onnx_data"))
    (blobs / "two").write_bytes(b"12345678")
    (folder / "model.onnx").symlink_to(blobs / "one")
    (folder / "model.onnx_data").symlink_to(blobs / "two")
    assert [path.name for path in outside.files(folder / "model.onnx")] == ["model.onnx_data"]
    (tmp_path / "elsewhere").write_bytes(b"12345678")
    (folder / "model.onnx_data").unlink()
    (folder / "model.onnx_data").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(outside.OutsideError, match="which is a link"):
        outside.files(folder / "model.onnx")


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    """Nothing else is raised, and nothing runs away."""
    path = tmp_path_factory.getbasetemp() / "any.onnx"
    path.write_bytes(content)
    try:
        outside.names(path)
    except outside.OutsideError as error:
        assert str(error).startswith("it ")  # noqa: PT017 - either outcome is right


@given(st.data())
def test_a_graph_cut_off_or_spoilt_is_read_or_refused(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    """A byte changed, or the end gone."""
    content = bytearray(HIDDEN["branch"]().SerializeToString())
    place = data.draw(st.integers(0, len(content) - 1))
    content[place] = data.draw(st.integers(0, 255))
    path = tmp_path_factory.getbasetemp() / "spoilt.onnx"
    path.write_bytes(content[: data.draw(st.integers(0, len(content)))])
    try:
        outside.names(path)
    except outside.OutsideError as error:
        assert str(error).startswith("it ")  # noqa: PT017 - either outcome is right


def test_graphs_within_graphs_without_end_are_refused(tmp_path: Path) -> None:
    """Their depth is bounded, as the reader's own is."""
    content = b""
    for _ in range(100):
        # A graph's node's attribute's graph.
        for number in (6, 5, 1):
            content = bytes([number << 3 | 2, len(content) & 127 | 128, len(content) >> 7]) + content
    path = tmp_path / "model.onnx"
    path.write_bytes(bytes([7 << 3 | 2, len(content) & 127 | 128, len(content) >> 7]) + content)
    with pytest.raises(outside.OutsideError, match="too deep"):
        outside.names(path)
