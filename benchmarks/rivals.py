"""What a user would write otherwise: transformers' pipeline on torch and over Optimum, with the same weights.

The weights are taken out of the bundle's INT8 graph, so that a checkout is enough; of their four case
vectors, the one for lower case goes into the word table, and the pipelines read plain uncased ids. They
find other entities so, in the same time.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from model.bundle import GRAPH, TOKENIZER

if TYPE_CHECKING:
    from collections.abc import Sequence

    from model.bundle import Bundle

TORCH, FP32, DYNAMIC = "torch", "fp32", "dynamic"
_STRIDE = 64
_LONGEST = 512


def cache_folder() -> Path:
    """Return where exports, jars and the like are kept between runs."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "fewnerd-stream" / "bench"


def export(bundle: Bundle) -> Path:
    """Write the bundle's network as a user has it: torch, Optimum's FP32 export, its dynamic INT8; return the folder.

    Done once for each bundle.

    Raises:
        ImportError: torch, transformers or optimum are not installed.
    """
    folder = cache_folder() / bundle.info.digest.removeprefix("sha256:")[:16]
    if (folder / DYNAMIC / "model_quantized.onnx").is_file():
        return folder
    shutil.rmtree(folder, ignore_errors=True)
    from optimum.exporters.onnx import main_export  # noqa: PLC0415 - heavy, and optional
    from optimum.onnxruntime import ORTQuantizer  # noqa: PLC0415
    from optimum.onnxruntime.configuration import AutoQuantizationConfig  # noqa: PLC0415

    _torch(bundle, folder / TORCH)
    main_export(
        str(folder / TORCH), folder / FP32, task="token-classification", opset=17, do_validation=False
    )
    quantizer = ORTQuantizer.from_pretrained(folder / FP32)
    plan = AutoQuantizationConfig.avx512_vnni(is_static=False, per_channel=True)
    quantizer.quantize(save_dir=folder / DYNAMIC, quantization_config=plan)
    return folder


def _torch(bundle: Bundle, folder: Path) -> None:
    import torch  # noqa: PLC0415
    from transformers import DistilBertConfig, DistilBertForTokenClassification, DistilBertTokenizerFast  # noqa: PLC0415

    from model.recipe.fuse import QuantizedGraph  # noqa: PLC0415

    graph = QuantizedGraph(bundle.folder / GRAPH)
    config = DistilBertConfig.from_pretrained(bundle.folder)
    network = DistilBertForTokenClassification(config)
    prefix = "distilbert.embeddings."
    plain = f"{prefix}plain." if f"{prefix}plain.position_embeddings.weight" in graph.constants else prefix
    table = f"{plain}word_embeddings.weight"
    words = graph.constant(f"{table}_quantized") * graph.constant(f"{table}_scale")
    if plain != prefix:
        words = words + graph.constant(f"{prefix}case_embeddings.weight")[0]
    state: dict[str, Any] = {f"{prefix}word_embeddings.weight": words}
    for name in network.state_dict():
        if name == f"{prefix}word_embeddings.weight":
            continue
        module, _, kind = name.rpartition(".")
        if name.startswith(prefix):
            state[name] = graph.constant(name.replace(prefix, plain))
        elif "layer_norm" in module:
            state[name] = graph.constant(name)
        else:
            path = "/" + module.replace(".", "/").replace("/layer/", "/layer.")
            linear = graph.linear(path)
            state[name] = (
                linear.bias
                if kind == "bias"
                else (linear.weights.astype(np.float32) * linear.weight_scales).T
            )
    network.load_state_dict({name: torch.from_numpy(np.array(value)) for name, value in state.items()})
    network.save_pretrained(str(folder))
    tokenizer = DistilBertTokenizerFast(
        tokenizer_file=str(bundle.folder / TOKENIZER), model_max_length=_LONGEST
    )
    tokenizer.save_pretrained(str(folder))


class TorchPipeline:
    """``transformers.pipeline("token-classification")`` on torch in FP32."""

    def __init__(self, folder: Path, threads: int, batch: int) -> None:
        import torch  # noqa: PLC0415
        from transformers import pipeline  # noqa: PLC0415

        self._threads, self.batch = threads, batch
        self._set_threads = torch.set_num_threads
        self._pipeline = pipeline(
            "token-classification",
            model=str(folder / TORCH),
            aggregation_strategy="simple",
            stride=_STRIDE,
            device="cpu",
        )

    def run(self, texts: Sequence[str]) -> None:
        """Find the texts' entities."""
        self.found(texts)

    def found(self, texts: Sequence[str]) -> Any:  # noqa: ANN401 - as the pipeline has it
        """Return what the pipeline returns."""
        self._set_threads(self._threads)
        return self._pipeline(list(texts), batch_size=self.batch)


class OptimumPipeline:
    """The same pipeline over ``ORTModelForTokenClassification``, INT8."""

    def __init__(self, folder: Path, threads: int, batch: int, graph: Path | None = None) -> None:
        """Open the dynamic export, or another INT8 graph of the same network."""
        import onnxruntime  # noqa: PLC0415
        from optimum.onnxruntime import ORTModelForTokenClassification  # noqa: PLC0415
        from transformers import AutoTokenizer, pipeline  # noqa: PLC0415

        self.batch = batch
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = 3
        where = folder / DYNAMIC
        name = "model_quantized.onnx"
        if graph is not None:
            where = folder / "static"
            where.mkdir(exist_ok=True)
            name = "model.onnx"
            for path in (folder / DYNAMIC).glob("*.json"):
                shutil.copyfile(path, where / path.name)
            shutil.copyfile(graph, where / name)
        model = ORTModelForTokenClassification.from_pretrained(where, file_name=name, session_options=options)
        tokenizer = AutoTokenizer.from_pretrained(folder / TORCH)
        self._pipeline = pipeline(
            "token-classification",
            model=model,
            tokenizer=tokenizer,
            aggregation_strategy="simple",
            stride=_STRIDE,
        )

    def run(self, texts: Sequence[str]) -> None:
        """Find the texts' entities."""
        self.found(texts)

    def found(self, texts: Sequence[str]) -> Any:  # noqa: ANN401 - as the pipeline has it
        """Return what the pipeline returns."""
        return self._pipeline(list(texts), batch_size=self.batch)
