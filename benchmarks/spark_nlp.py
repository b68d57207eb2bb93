"""Section 2, Spark NLP: the same network in batch against the tagger, and in Structured Streaming against a worker."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import venv
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self

from benchmarks import machine
from benchmarks.compare import Contender, against, rounds
from benchmarks.rivals import cache_folder
from benchmarks.stage import Outcome, Stage
from benchmarks.stats import Spread, ratio, show
from benchmarks.tagger import Ours
from fewnerd_stream.kafka.children import end_with_parent
from model.bundle import GRAPH, TOKENIZER
from tests.support.clients import create_topics

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.context import Context

BATCH, STREAM = "Spark NLP, batch", "Spark NLP, Structured Streaming"
_POM: Final = Path(__file__).parent / "spark" / "pom.xml"
_JOB: Final = Path(__file__).parent / "spark" / "job.py"
_PACKAGES: Final = ("pyspark==3.5.6", "spark-nlp==5.5.3", "numpy<2")
# Batch sizes, partitions and threads of each graph call that are tried.
_TRIED: Final = ((8, 4), (32, 4), (32, 2), (64, 2))
_ONNX_THREADS: Final = (1, 2)


class SparkUnavailable(Exception):  # noqa: N818 - says what is the case, and why
    """Spark NLP cannot run here; the message says what is missing."""


def run(context: Context) -> dict[str, Any]:
    """Run the section."""
    result: dict[str, Any] = {"load_before": machine.load(), "skipped": {}}
    try:
        python, jars = _python(), _jars()
    except SparkUnavailable as error:
        return result | {"skipped": {BATCH: str(error), STREAM: str(error)}}
    model = _model(context)
    with Stage(context) as stage:
        tried: dict[str, float] = {}
        best: tuple[float, int, int, int] = (0.0, 1, 8, 4)
        for threads in context.choose(_ONNX_THREADS, (1,)):
            with Spark(stage, python, jars, model, threads) as spark:
                result["versions"] = spark.versions
                spark.batch(context.texts.sentences(32), 8, 4)
                for batch, partitions in context.choose(_TRIED, _TRIED[:1]):
                    texts = context.texts.sentences(context.choose(400, 16))
                    rate = len(texts) / spark.batch(texts, batch, partitions)
                    tried[f"{threads} threads a call, batch {batch}, {partitions} partitions"] = round(
                        rate, 1
                    )
                    best = max(best, (rate, threads, batch, partitions))
        _, threads, batch, partitions = best
        result["tuning"] = {"tried": tried, "threads": threads, "batch": batch, "partitions": partitions}
        context.say(f"Spark NLP tried {tried}")
        with Spark(stage, python, jars, model, threads) as spark, context.tagger() as tagger:
            contenders: dict[str, Contender] = {
                "tagger": Ours(tagger),
                BATCH: _Batch(spark, batch, partitions),
            }
            figures = rounds(
                contenders,
                context.texts.sentences,
                context.pieces,
                count=context.choose(3, 1),
                seconds=context.choose(6.0, 0.2),
                most=context.choose(20_000, 16),
                say=context.say,
            )
            result["batch"] = {
                "contenders": {name: each.as_dict() for name, each in figures.items()},
                "ratios": against(figures, "tagger"),
            }
            texts = context.texts.sentences(context.choose(1_000, 16))
            ours = [
                {(e.start, e.end, e.label) for e in found} for found in tagger.tag([t.lower() for t in texts])
            ]
            theirs = [set(map(tuple, found)) for found in spark.find(texts, batch, partitions)]
            result["agreement"] = _agreement(ours, theirs)
            context.say(f"agreement: {result['agreement']}")
            result["stream"] = _streams(stage, spark, batch)
    result["load_after"] = machine.load()
    return result


class Spark:
    """A running Spark with the model loaded."""

    def __init__(self, stage: Stage, python: Path, jars: Path, model: Path, threads: int) -> None:
        self._stage = stage
        self._command = [str(python), str(_JOB), "--jars", str(jars), "--model", str(model)]
        self._command += ["--scratch", str(stage.folder), "--onnx-threads", str(threads)]
        self.versions: dict[str, str] = {}

    def __enter__(self) -> Self:
        """Start it; returns when the model is loaded."""
        environment = {**os.environ, "PYSPARK_PYTHON": self._command[0], "SPARK_LOCAL_IP": "127.0.0.1"}
        self._log = (self._stage.folder / "spark.log").open("ab")
        self._process = subprocess.Popen(
            self._command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
            env=environment,
            start_new_session=True,
            preexec_fn=end_with_parent(),  # noqa: PLW1509 - the kernel shall end it with this process
        )
        told = self._answer()
        self.versions = {name: told[name] for name in ("spark", "sparknlp")}
        return self

    def __exit__(self, *_: object) -> None:
        """End it, with its virtual machine."""
        try:
            self._process.communicate(json.dumps({"do": "end"}) + "\n", timeout=60)
        except (subprocess.TimeoutExpired, BrokenPipeError, ValueError):
            pass
        finally:
            if self._process.poll() is None:
                os.killpg(self._process.pid, 9)
                self._process.wait()
            self._log.close()

    def batch(self, texts: Sequence[str], batch: int, partitions: int) -> float:
        """Find all entities in texts that lie in memory, and return the seconds."""
        order = {"do": "batch", "batch": batch, "partitions": partitions, "file": self._file(texts)}
        return float(self._ask(order)["seconds"])

    def find(self, texts: Sequence[str], batch: int, partitions: int) -> list[list[tuple[int, int, str]]]:
        """Return the texts' entities: begin, end, label."""
        order = {"do": "find", "batch": batch, "partitions": partitions, "file": self._file(texts)}
        return list(self._ask(order)["entities"])

    def stream(self, source: str, target: str, count: int, batch: int, per_trigger: int) -> dict[str, Any]:
        """Read a topic from its start and write another, until so many documents are through."""
        order = {"do": "stream", "bootstrap": self._stage.bootstrap, "input": source, "output": target}
        return self._ask(order | {"count": count, "batch": batch, "per_trigger": per_trigger})

    def _file(self, texts: Sequence[str]) -> str:
        path = self._stage.folder / "texts.jsonl"
        path.write_text("".join(json.dumps(text) + "\n" for text in texts), "utf-8")
        return str(path)

    def _ask(self, order: dict[str, Any]) -> dict[str, Any]:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()
        return self._answer()

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if line.startswith("@"):
                told: dict[str, Any] = json.loads(line[1:])
                return told
        log = (self._stage.folder / "spark.log").read_text(errors="replace")[-4000:]
        raise SparkUnavailable(f"Spark ended:\n{log}")


class _Batch:
    """Spark NLP as a contender: it tells its own time, without reading the texts in."""

    def __init__(self, spark: Spark, batch: int, partitions: int) -> None:
        self._spark, self._batch, self._partitions = spark, batch, partitions

    def run(self, texts: Sequence[str]) -> float:
        """Find the texts' entities."""
        return self._spark.batch(texts, self._batch, self._partitions)


def _streams(stage: Stage, spark: Spark, batch: int) -> dict[str, Any]:
    context = stage.context
    done: dict[str, list[Outcome]] = {"worker": [], STREAM: []}
    for number in range(context.choose(3, 1)):
        texts = context.texts.sentences(context.choose(12_000, 40))
        done["worker"].append(stage.through_worker(texts))
        part = texts[: context.choose(3_000, 40)]
        flow = stage.flow()
        output = f"{flow.prefix}.spark"
        create_topics(stage.bootstrap, {output: 4})
        stage.preload(flow.input, part)
        told = spark.stream(flow.input, output, len(part), batch, context.choose(1_000, 40))
        if "error" in told:
            raise SparkUnavailable(f"Structured Streaming ended: {told['error']}")
        done[STREAM].append(stage.outcome([output], len(part), 0.0, 0.0, 0.0))
        shown = ", ".join(f"{name} {each[-1].documents_per_second:,.0f}" for name, each in done.items())
        context.say(f"streaming, round {number + 1}, documents/s: {shown}")
    rates = {name: [each.documents_per_second for each in outcomes] for name, outcomes in done.items()}
    return {
        "documents_per_second": {name: Spread.of(values).as_dict() for name, values in rates.items()},
        "ratios": {STREAM: ratio(rates["worker"], rates[STREAM]).as_dict()},
    }


def _agreement(ours: list[set[Any]], theirs: list[set[Any]]) -> dict[str, Any]:
    """Return how many entities both have, exactly and by place alone."""
    exact = sum(len(a & b) for a, b in zip(ours, theirs, strict=True))
    places = sum(len({e[:2] for e in a} & {e[:2] for e in b}) for a, b in zip(ours, theirs, strict=True))
    counts = {"ours": sum(map(len, ours)), "theirs": sum(map(len, theirs))}
    share = 2 * exact / (counts["ours"] + counts["theirs"] or 1)
    return counts | {"same": exact, "same_place": places, "f1": share, "shown": show(share)}


def _model(context: Context) -> Path:
    """Lay the bundle out as Spark NLP loads a graph: ``model.onnx`` and ``assets``."""
    folder = cache_folder() / f"spark-model-{context.bundle.info.digest[-12:]}"
    assets = folder / "assets"
    assets.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(context.bundle.folder / GRAPH, folder / GRAPH)
    vocabulary = json.loads((context.bundle.folder / TOKENIZER).read_bytes())["model"]["vocab"]
    (assets / "vocab.txt").write_text("\n".join(sorted(vocabulary, key=vocabulary.get)) + "\n", "utf-8")
    # Its converter takes the first two characters of a label for a chunk's tag.
    labels = [label if label == "O" else f"I-{label}" for label in context.bundle.labels]
    (assets / "labels.txt").write_text("\n".join(labels) + "\n", "utf-8")
    return folder


def _python() -> Path:
    """Return a Python with pyspark and spark-nlp, in an environment of its own; made once."""
    folder = cache_folder() / "spark-venv"
    python = folder / "bin" / "python"
    if not (folder / ".made").is_file():
        venv.create(folder, with_pip=True, clear=True)
        done = subprocess.run(
            [str(python), "-m", "pip", "install", "--quiet", *_PACKAGES],
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise SparkUnavailable(f"pip could not install {', '.join(_PACKAGES)}: {done.stderr[-500:]}")
        (folder / ".made").touch()
    return python


def _jars() -> Path:
    """Return the folder of Spark NLP's jars, which Maven fills once."""
    folder = cache_folder() / "spark-jars"
    if (folder / ".made").is_file():
        return folder
    maven = shutil.which("mvn")
    if maven is None or shutil.which("java") is None:
        raise SparkUnavailable("needs Java and Maven")
    command = [maven, "-q", "-B", "-f", str(_POM), "dependency:copy-dependencies"]
    command += ["-DincludeScope=runtime", f"-DoutputDirectory={folder}"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=1800)
    if done.returncode:
        raise SparkUnavailable(f"Maven could not fetch Spark NLP: {done.stdout[-500:]}")
    # Spark brings these itself, in its own versions.
    for name in ("hadoop-client", "scala-library", "slf4j-api", "spark-tags"):
        for path in folder.glob(f"{name}*.jar"):
            path.unlink()
    (folder / ".made").touch()
    return folder


if __name__ == "__main__":
    print(_python(), _jars(), file=sys.stderr)
