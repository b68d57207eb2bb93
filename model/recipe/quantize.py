"""INT8 with Optimum, statically: fixed activation scales, so a sentence's labels need no neighbours.

Weights are INT8 per channel, activations UINT8 with the ranges seen on training sentences. Two things
Optimum cannot be told are done to the graph here: products between activations stay FP32, and a
product's output is not quantized again.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import onnx
from onnx import helper, numpy_helper
from onnxruntime.quantization import CalibrationMethod, QuantFormat, QuantizationMode, QuantType
from optimum.onnxruntime import ORTQuantizer
from optimum.onnxruntime.configuration import CalibrationConfig, QuantizationConfig

from model.recipe.errors import RecipeError

if TYPE_CHECKING:
    from collections.abc import Iterable

    import numpy.typing as npt

CALIBRATION_SENTENCES = 400


class QuantizationError(RecipeError):
    """The graph cannot be quantized as the recipe does it; the message says why."""


def quantize(source: Path, target: Path, sentences: Iterable[npt.NDArray[np.int64]]) -> None:
    """Write the FP32 graph ``source`` as a static INT8 graph.

    Args:
        source: a graph written by ``export``.
        target: where the INT8 graph goes.
        sentences: ids of calibration sentences, one array [length] each, specials included; training
            sentences, never those that measure the result.

    Raises:
        QuantizationError: the graph has no product with a constant to quantize.
    """
    graph = onnx.load(str(source)).graph
    constants = {tensor.name for tensor in graph.initializer}
    products = [node for node in graph.node if node.op_type == "MatMul"]
    weighted = [node for node in products if node.input[1] in constants]
    if not weighted:
        raise QuantizationError(f"{source}: no product with a constant matrix in it")
    feed = [{"input_ids": ids.tolist(), "attention_mask": [1] * len(ids)} for ids in sentences]
    quantizer = ORTQuantizer(source)
    plan = QuantizationConfig(
        is_static=True,
        format=QuantFormat.QDQ,
        mode=QuantizationMode.QLinearOps,
        activations_dtype=QuantType.QUInt8,
        activations_symmetric=False,
        weights_dtype=QuantType.QInt8,
        weights_symmetric=True,
        per_channel=True,
        nodes_to_quantize=[node.name for node in weighted],
        operators_to_quantize=["MatMul"],
    )
    calibration = CalibrationConfig(
        dataset_name="calibration",
        dataset_config_name="",
        dataset_split="train",
        dataset_num_samples=len(feed),
        method=CalibrationMethod.MinMax,
    )
    with tempfile.TemporaryDirectory() as scratch:
        ranges = quantizer.fit(
            dataset=feed,
            calibration_config=calibration,
            onnx_augmented_model_name=Path(scratch, "augmented.onnx"),
            operators_to_quantize=plan.operators_to_quantize,
        )
        quantizer.quantize(plan, scratch, calibration_tensors_range=ranges)
        (written,) = Path(scratch).glob("*_quantized.onnx")
        model = onnx.load(str(written))
    keep_float(model)
    part_sums_from_norms(model.graph)
    quantize_table(model)
    part = target.with_suffix(".part")
    target.parent.mkdir(parents=True, exist_ok=True)
    onnx.save(model, str(part))
    part.replace(target)


def keep_float(model: onnx.ModelProto) -> None:
    """Leave INT8 to the products alone: every other reader of a quantized tensor reads the float one.

    The quantizer sends a tensor's other readers (residual sums, shapes) through its quantize-dequantize
    pair too, and quantizes each product's output again. Both cost accuracy and time.
    """
    graph = model.graph
    made_by = {name: node for node in graph.node for name in node.output}
    float_of = {
        node.output[0]: made_by[node.input[0]].input[0]
        for node in graph.node
        if node.op_type == "DequantizeLinear" and node.input[0] in made_by
    }
    of_product = {
        after
        for after, before in float_of.items()
        if before in made_by and made_by[before].op_type == "MatMul"
    }
    for node in graph.node:
        for place, name in enumerate(node.input):
            if name in of_product or (name in float_of and node.op_type != "MatMul"):
                node.input[place] = float_of[name]
    for output in graph.output:
        if output.name in of_product:
            raise QuantizationError(f"the graph's output {output.name} is a bare product")
    drop_unread(graph)


def drop_unread(graph: onnx.GraphProto) -> None:
    """Take out the nodes and constants that nothing reads any more."""
    while True:
        read = {name for node in graph.node for name in node.input} | {output.name for output in graph.output}
        unread = [node for node in graph.node if not read.intersection(node.output)]
        if not unread:
            break
        for node in unread:
            graph.node.remove(node)
    for tensor in [tensor for tensor in graph.initializer if tensor.name not in read]:
        graph.initializer.remove(tensor)


def part_sums_from_norms(graph: onnx.GraphProto) -> None:
    """Write the sum in front of each layer norm as a Sum, which ONNX Runtime does not fuse with it.

    Its fused SkipLayerNormalization (1.32, CPU) takes seven times as long as a LayerNormalization does;
    parted, the whole graph is 17 % faster.
    """
    made_by = {name: node for node in graph.node for name in node.output}
    for node in graph.node:
        if node.op_type == "LayerNormalization" and node.input[0] in made_by:
            before = made_by[node.input[0]]
            if before.op_type == "Add":
                before.op_type = "Sum"


def quantize_table(model: onnx.ModelProto) -> None:
    """Store the word table, most of the file, as INT8 rows with a scale each.

    Rows are gathered before they are scaled: a DequantizeLinear in front of the Gather would scale the
    whole table for every batch, and one behind it takes a single scale.
    """
    graph = model.graph
    held = {tensor.name: tensor for tensor in graph.initializer}
    gathers = [node for node in graph.node if node.op_type == "Gather" and node.input[0] in held]
    if not gathers:
        raise QuantizationError("the graph gathers from no constant table")
    largest = max(gathers, key=lambda node: int(np.prod(held[node.input[0]].dims)))
    name, found = largest.input[0], largest.output[0]
    table = numpy_helper.to_array(held[name])
    scale = np.maximum(np.abs(table).max(1, keepdims=True) / 127, np.finfo(np.float32).tiny)
    scale = scale.astype(np.float32)
    rows = np.rint(table / scale).astype(np.int8)
    graph.initializer.remove(held[name])
    graph.initializer.append(numpy_helper.from_array(rows, f"{name}_quantized"))
    graph.initializer.append(numpy_helper.from_array(scale, f"{name}_scale"))
    place = list(graph.node).index(largest)
    rows_out, scale_out, float_out = (f"{found}_{part}" for part in ("quantized", "scale", "float"))
    nodes = [
        helper.make_node("Gather", [f"{name}_quantized", largest.input[1]], [rows_out]),
        helper.make_node("Gather", [f"{name}_scale", largest.input[1]], [scale_out]),
        helper.make_node("Cast", [rows_out], [float_out], to=onnx.TensorProto.FLOAT),
        helper.make_node("Mul", [float_out, scale_out], [found]),
    ]
    graph.node.remove(largest)
    for offset, node in enumerate(nodes):
        graph.node.insert(place + offset, node)
