"""The bundle's second graph: the same network as ``model.onnx``, as ONNX Runtime computes it fastest.

``model.onnx`` stays what any runtime can load. ``fused.onnx`` beside it gives the same scores in other
steps: biases are added inside the INT8 products, attention is one operator, and past the last attention
only the pieces are followed whose scores are wanted. Its weights are read out of ``model.onnx``, by their
place in that file, so it adds little to the bundle.
"""

from __future__ import annotations

import dataclasses
import hashlib
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from model.bundle import FUSED, GRAPH, WEIGHTS_KEY
from model.recipe.errors import RecipeError

if TYPE_CHECKING:
    from pathlib import Path

    import numpy.typing as npt

    Array = npt.NDArray[Any]

# Attention became an operator of ONNX in this one.
_OPSET = 23
_IR_VERSION = 10
_RUNTIME = "com.microsoft"
# Smaller tensors are written into the graph itself.
_SHARED_BYTES = 1024


class FusionError(RecipeError):
    """The graph is not one that the recipe wrote; the message says where it differs."""


@dataclasses.dataclass(frozen=True, slots=True)
class Linear:
    """A quantized product with its bias: input scale and zero point, weights, their scales, bias."""

    scale: Array
    zero: Array
    weights: Array
    weight_scales: Array
    bias: Array


class QuantizedGraph:
    """The quantized graph's constants, found by the names that the export gave its nodes."""

    def __init__(self, path: Path) -> None:
        """Read a graph that `model.recipe.quantize` wrote."""
        self.path = path
        graph = onnx.load(str(path)).graph
        self.constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
        for node in graph.node:
            if node.op_type == "Constant":
                self.constants[node.output[0]] = numpy_helper.to_array(node.attribute[0].t)
            elif node.op_type == "Identity" and node.input[0] in self.constants:
                # The export writes equal constants once: an untrained network's biases, say.
                self.constants[node.output[0]] = self.constants[node.input[0]]
        self._nodes = {node.name: node for node in graph.node}
        self._made_by = {name: node for node in graph.node for name in node.output}

    def constant(self, name: str) -> Array:
        """Return a constant by its name."""
        if name not in self.constants:
            raise FusionError(f"{self.path}: no constant {name}")
        return self.constants[name]

    def linear(self, name: str) -> Linear:
        """Return the product of a module, ``/classifier`` or the like."""
        try:
            product, addition = self._nodes[f"{name}/MatMul"], self._nodes[f"{name}/Add"]
            read, weights = (self._made_by[tensor] for tensor in product.input)
            (bias,) = (self.constants[tensor] for tensor in addition.input if tensor in self.constants)
            scale, zero = (self.constants[tensor] for tensor in read.input[1:])
            values, scales, zeros = (self.constants[tensor] for tensor in weights.input)
        except (KeyError, ValueError) as error:
            raise FusionError(f"{self.path}: {name} is not a quantized product with a bias") from error
        if zeros.any():
            raise FusionError(f"{self.path}: the weights of {name} are not symmetric")
        return Linear(scale, zero, values, scales, bias)

    def is_relu(self, name: str) -> bool:
        """Return whether the activation module of this name is a ReLU; if not, it is a GELU, in its many steps.

        Raises:
            FusionError: it is neither.
        """
        kinds = {node.op_type for node in self._nodes.values() if node.name.startswith(f"{name}/")}
        if not kinds & {"Relu", "Erf"}:
            raise FusionError(f"{self.path}: {name} is neither a ReLU nor a GELU")
        return "Relu" in kinds

    def norm(self, name: str) -> tuple[Array, Array, float]:
        """Return a layer norm's weight, bias and epsilon."""
        node = self._nodes.get(
            "/" + name.replace(".", "/").replace("/layer/", "/layer.") + "/LayerNormalization"
        )
        if node is None:
            raise FusionError(f"{self.path}: no layer norm {name}")
        epsilon = next(a.f for a in node.attribute if a.name == "epsilon")
        return self.constant(f"{name}.weight"), self.constant(f"{name}.bias"), epsilon


class _Builder:
    """Nodes and constants of a graph under construction; every method returns its output's name."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: dict[str, Array] = {}

    def constant(self, name: str, value: Any) -> str:  # noqa: ANN401 - whatever numpy takes
        self.constants[name] = np.ascontiguousarray(value) if np.ndim(value) else np.asarray(value)
        return name

    def node(self, kind: str, inputs: list[str], name: str, *, domain: str = "", **attributes: Any) -> str:  # noqa: ANN401 - as ONNX has them
        self.nodes.append(helper.make_node(kind, inputs, [name], name=name, domain=domain, **attributes))
        return name

    def quantized(self, read: str, linear: Linear, name: str) -> str:
        """Quantize for one product, or for several that read the same."""
        scale, zero = self.constant(f"{name}.scale", linear.scale), self.constant(f"{name}.zero", linear.zero)
        return self.node("QuantizeLinear", [read, scale, zero], name)

    def linear(self, read: str, linear: Linear, name: str) -> str:
        """Multiply by INT8 weights and add the bias, from quantized to float."""
        inputs = [
            read,
            self.constant(f"{name}.weights", linear.weights),
            self.constant(f"{name}.scale", linear.scale),
            self.constant(f"{name}.scales", linear.weight_scales),
            self.constant(f"{name}.zero", linear.zero),
            "",
            self.constant(f"{name}.bias", linear.bias),
        ]
        return self.node("MatMulIntegerToFloat", inputs, name, domain=_RUNTIME)

    def norm(self, parts: list[str], norm: tuple[Array, Array, float], name: str) -> str:
        """Normalize a sum; not an Add, which ONNX Runtime fuses into an operator slower than both."""
        weight, bias, epsilon = norm
        inputs = [
            self.node("Sum", parts, f"{name}.sum"),
            self.constant(f"{name}.weight", weight),
            self.constant(f"{name}.bias", bias),
        ]
        return self.node("LayerNormalization", inputs, name, axis=-1, epsilon=epsilon)


def fuse(folder: Path, *, layers: int, heads: int) -> None:
    """Write ``fused.onnx`` beside a bundle's ``model.onnx``.

    Args:
        folder: holds a ``model.onnx`` as `model.recipe.quantize` writes it.
        layers: of the network.
        heads: of its attention.

    Raises:
        FusionError: the graph is not as the recipe writes it.
    """
    source = QuantizedGraph(folder / GRAPH)
    build = _Builder()
    held = _embeddings(source, build)
    mask = _mask(build)
    for layer in range(layers):
        held = _layer(source, build, held, mask, layer, heads=heads, last=layer == layers - 1)
    classifier = source.linear("/classifier")
    build.linear(build.quantized(held, classifier, "classifier.input"), classifier, "logits")
    inputs = [
        helper.make_tensor_value_info("input_ids", TensorProto.INT64, ["batch", "length"]),
        helper.make_tensor_value_info("attention_mask", TensorProto.INT64, ["batch", "length"]),
        helper.make_tensor_value_info("words", TensorProto.INT64, ["words"]),
    ]
    outputs = [
        helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["words", classifier.bias.size]),
    ]
    weights = (folder / GRAPH).read_bytes()
    constants = [_tensor(name, value, weights) for name, value in build.constants.items()]
    graph = helper.make_graph(build.nodes, "fused", inputs, outputs, constants)
    opsets = [helper.make_opsetid("", _OPSET), helper.make_opsetid(_RUNTIME, 1)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=_IR_VERSION)
    helper.set_model_props(model, {WEIGHTS_KEY: hashlib.sha256(weights).hexdigest()})
    part = folder / f"{FUSED}.part"
    # Not onnx.save, which would look for the shared tensors' files.
    part.write_bytes(model.SerializeToString())
    part.replace(folder / FUSED)


def _embeddings(source: QuantizedGraph, build: _Builder) -> str:
    """Add up word, case and position vectors, and normalize them."""
    prefix = "distilbert.embeddings."
    plain = f"{prefix}plain." if f"{prefix}plain.position_embeddings.weight" in source.constants else prefix
    table = f"{plain}word_embeddings.weight"
    rows = build.constant("table", source.constant(f"{table}_quantized"))
    scales = build.constant("table.scale", source.constant(f"{table}_scale"))
    pieces, parts = "input_ids", []
    if plain != prefix:
        size = build.constant("table.size", np.int64(source.constant(f"{table}_quantized").shape[0]))
        case = build.node("Div", ["input_ids", size], "case")
        pieces = build.node("Sub", ["input_ids", build.node("Mul", [case, size], "case.first")], "pieces")
        cases = build.constant("cases", source.constant(f"{prefix}case_embeddings.weight"))
        parts.append(build.node("Gather", [cases, case], "case.vector"))
    gathered = build.node("Gather", [rows, pieces], "word.rows")
    floats = build.node("Cast", [gathered], "word.floats", to=TensorProto.FLOAT)
    parts.append(
        build.node("Mul", [floats, build.node("Gather", [scales, pieces], "word.scales")], "word.vector")
    )
    places = build.constant("places", source.constant(f"{plain}position_embeddings.weight"))
    zero = build.constant("zero", np.zeros(1, np.int64))
    length = build.node("Shape", ["input_ids"], "length", start=1, end=2)
    parts.append(build.node("Slice", [places, zero, length, zero], "place.vector"))
    return build.norm(parts, source.norm(f"{plain}LayerNorm"), "embedded")


def _mask(build: _Builder) -> str:
    """Spread the mask over every piece that looks at it: [batch, 1, length, length]."""
    seen = build.node("Cast", ["attention_mask"], "seen", to=TensorProto.BOOL)
    axes = build.constant("mask.axes", np.array([1, 2], np.int64))
    seen = build.node("Unsqueeze", [seen, axes], "seen.spread")
    ones = build.constant("mask.ones", np.ones(2, np.int64))
    one = build.constant("mask.one", np.ones(1, np.int64))
    shape = build.node("Concat", [ones, "length", one], "mask.shape", axis=0)
    return build.node("Expand", [seen, shape], "mask")


def _layer(
    source: QuantizedGraph, build: _Builder, held: str, mask: str, layer: int, *, heads: int, last: bool
) -> str:
    """Add a transformer layer; of the last one, only the wanted pieces go on past its attention."""
    module, prefix, name = (
        f"/distilbert/transformer/layer.{layer}",
        f"distilbert.transformer.layer.{layer}",
        f"layer{layer}",
    )
    query, key, value = (source.linear(f"{module}/attention/{which}_lin") for which in "qkv")
    read = build.quantized(held, query, f"{name}.input")
    attended = build.node(
        "Attention",
        [
            build.linear(read, query, f"{name}.query"),
            build.linear(read, key, f"{name}.key"),
            build.linear(read, value, f"{name}.value"),
            mask,
        ],
        f"{name}.attention",
        q_num_heads=heads,
        kv_num_heads=heads,
    )
    if last:
        flat = build.constant("flat", np.array([-1, query.bias.size], np.int64))
        attended, held = (
            build.node(
                "Gather", [build.node("Reshape", [each, flat], f"{each}.flat"), "words"], f"{each}.words"
            )
            for each in (attended, held)
        )
    out = source.linear(f"{module}/attention/out_lin")
    mixed = build.linear(build.quantized(attended, out, f"{name}.out.input"), out, f"{name}.out")
    held = build.norm([mixed, held], source.norm(f"{prefix}.sa_layer_norm"), f"{name}.mixed")
    wide, narrow = source.linear(f"{module}/ffn/lin1"), source.linear(f"{module}/ffn/lin2")
    inner = build.linear(build.quantized(held, wide, f"{name}.wide.input"), wide, f"{name}.wide")
    if not source.is_relu(f"{module}/ffn/activation"):
        inner = build.node("Gelu", [inner], f"{name}.gelu")
    elif narrow.zero.any():
        raise FusionError(f"{source.path}: what ReLU gives is quantized with a zero point, {narrow.zero}")
    # With 0 as its zero point, UINT8 holds nothing below 0: quantizing is the ReLU.
    outer = build.linear(build.quantized(inner, narrow, f"{name}.narrow.input"), narrow, f"{name}.narrow")
    return build.norm([outer, held], source.norm(f"{prefix}.output_layer_norm"), f"{name}.output")


def _tensor(name: str, value: Array, weights: bytes) -> onnx.TensorProto:
    """Return a constant: its place in ``model.onnx`` if the bytes stand there, else the bytes themselves."""
    tensor: onnx.TensorProto = numpy_helper.from_array(value, name)
    place = weights.find(tensor.raw_data) if len(tensor.raw_data) >= _SHARED_BYTES else -1
    if place < 0:
        return tensor
    size = len(tensor.raw_data)
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    for entry, text in (("location", GRAPH), ("offset", str(place)), ("length", str(size))):
        tensor.external_data.add(key=entry, value=text)
    return tensor
