"""Spark NLP on the bundle's network, in a Python and a virtual machine of its own; driven by lines of JSON.

Run by ``benchmarks.spark_nlp`` with the Python that has pyspark and spark-nlp. It answers each line on standard
input with one on standard output that begins with ``@``; what Spark prints is not meant for anyone.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

import sparknlp
from pyspark.ml import Pipeline, PipelineModel
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as f
from sparknlp.annotator import DistilBertForTokenClassification, NerConverter, Tokenizer
from sparknlp.base import DocumentAssembler


def main() -> None:
    """Start Spark, load the model, and do what the lines ask for."""
    parser = argparse.ArgumentParser()
    for name in ("jars", "model", "scratch"):
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("--cores", type=int, default=2)
    parser.add_argument("--onnx-threads", type=int, default=1)
    options = parser.parse_args()
    spark = _session(options)
    loaded = _pipeline(spark, options.model)

    def model(batch: int) -> PipelineModel:
        loaded.stages[2].setBatchSize(batch)
        return loaded

    _say({"ready": True, "spark": spark.version, "sparknlp": sparknlp.version()})
    for line in sys.stdin:
        order: dict[str, Any] = json.loads(line)
        if order["do"] == "batch":
            _say(_batch(spark, model(order["batch"]), order))
        elif order["do"] == "find":
            _say(_find(spark, model(order["batch"]), order))
        elif order["do"] == "stream":
            _say(_stream(spark, model(order["batch"]), order, Path(options.scratch)))
        else:
            break
    spark.stop()


def _session(options: argparse.Namespace) -> SparkSession:
    jars = ",".join(sorted(str(path) for path in Path(options.jars).glob("*.jar")))
    return (
        SparkSession.builder.appName("benchmark")
        .master(f"local[{options.cores}]")
        .config("spark.jars", jars)
        .config("spark.driver.memory", "4g")
        .config("spark.driver.host", "127.0.0.1")
        .config("spark.driver.bindAddress", "127.0.0.1")
        .config("spark.ui.enabled", "false")
        .config("spark.serializer", "org.apache.spark.serializer.KryoSerializer")
        .config("spark.kryoserializer.buffer.max", "512m")
        .config("spark.jsl.settings.onnx.intraOpNumThreads", str(options.onnx_threads))
        .config("spark.sql.shuffle.partitions", "4")
        .getOrCreate()
    )


def _pipeline(spark: SparkSession, folder: str) -> PipelineModel:
    document = DocumentAssembler().setInputCol("text").setOutputCol("document")
    token = Tokenizer().setInputCols(["document"]).setOutputCol("token")
    classifier = (
        DistilBertForTokenClassification.loadSavedModel(folder, spark)
        .setInputCols(["document", "token"])
        .setOutputCol("ner")
        .setCaseSensitive(False)
        .setMaxSentenceLength(512)
    )
    entities = NerConverter().setInputCols(["document", "token", "ner"]).setOutputCol("entities")
    return Pipeline(stages=[document, token, classifier, entities]).fit(
        spark.createDataFrame([["a"]], ["text"])
    )


def _batch(spark: SparkSession, model: PipelineModel, order: dict[str, Any]) -> dict[str, Any]:
    texts = _read(spark, order)
    texts.count()
    start = time.perf_counter()
    # Every entity is made, and none is brought to the driver.
    model.transform(texts).select("entities").write.format("noop").mode("overwrite").save()
    return {"seconds": time.perf_counter() - start}


def _find(spark: SparkSession, model: PipelineModel, order: dict[str, Any]) -> dict[str, Any]:
    rows = model.transform(_read(spark, order)).select("place", "entities").collect()
    found = [(row.place, [(e.begin, e.end + 1, e.metadata["entity"]) for e in row.entities]) for row in rows]
    return {"entities": [entities for _, entities in sorted(found)]}


def _read(spark: SparkSession, order: dict[str, Any]) -> DataFrame:
    lines = Path(order["file"]).read_text("utf-8").splitlines()
    rows = [(number, json.loads(line)) for number, line in enumerate(lines)]
    frame = spark.createDataFrame(rows, ["place", "text"]).repartition(order["partitions"])
    return frame.cache()


def _stream(
    spark: SparkSession, model: PipelineModel, order: dict[str, Any], scratch: Path
) -> dict[str, Any]:
    raw = (
        spark.readStream.format("kafka")
        .option("kafka.bootstrap.servers", order["bootstrap"])
        .option("subscribe", order["input"])
        .option("startingOffsets", "earliest")
        .option("maxOffsetsPerTrigger", order["per_trigger"])
        .load()
    )
    fields = f.from_json(f.col("value").cast("string"), "id string, text string")
    texts = raw.select("key", fields.alias("doc")).select("key", "doc.id", "doc.text")
    entities = f.transform(
        "entities",
        lambda e: f.struct(e.result.alias("text"), e.begin, e.end, e.metadata["entity"].alias("label")),
    )
    out = model.transform(texts).select(
        "key", f.to_json(f.struct("id", "text", entities.alias("entities"))).alias("value")
    )
    query = (
        out.writeStream.format("kafka")
        .option("kafka.bootstrap.servers", order["bootstrap"])
        .option("topic", order["output"])
        .option("checkpointLocation", str(scratch / order["output"]))
        .start()
    )
    done = 0
    while done < order["count"] and query.isActive:
        time.sleep(0.5)
        progress = query.recentProgress
        done = sum(each["numInputRows"] for each in progress)
    if not query.isActive:
        return {"error": str(query.exception())}
    query.processAllAvailable()
    query.stop()
    return {
        "batches": [
            (each["numInputRows"], each["durationMs"].get("triggerExecution"))
            for each in query.recentProgress
        ]
    }


def _say(answer: dict[str, Any]) -> None:
    print("@" + json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
