"""The tagger's own work, on a graph of a few lines that stands in for the model's."""

from __future__ import annotations

import dataclasses
import itertools
import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from model import queue, windows
from model.bundle import BundleError
from model.entity import Entity
from model.graph import Graph, ScoresError
from model.pool import PoolClosedError
from model.tagger import Tagger
from tests.unit.model.conftest import WORDS, write_small

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import numpy.typing as npt

    Ints = npt.NDArray[np.int64]

PERSON, PLACE = WORDS.index("b"), WORDS.index("berlin")


class Session:
    """A session that gives the same everywhere but for one number."""

    def __init__(self, odd: float, shape: tuple[int, ...] = (1, 4, 3)) -> None:
        self.logits = np.zeros(shape, np.float32)
        self.logits.flat[shape[-1] + 1] = odd

    def get_inputs(self) -> list[str]:
        """Name two."""
        return ["input_ids", "attention_mask"]

    def run(self, _: list[str], __: dict[str, Ints]) -> tuple[npt.NDArray[np.float32]]:
        """Give it."""
        return (self.logits,)


class StubGraph:
    """Scores a piece by its id, and a little by every piece of its row that the mask lets through."""

    fused = False

    def __init__(self) -> None:
        self.rows = 0
        self.largest = 0
        self.threads: set[str] = set()
        self.failure: Exception | None = None
        self.gate: threading.Event | None = None

    def scores(self, ids: Ints, mask: Ints, words: Ints) -> npt.NDArray[np.float32]:
        """Return the scores of the wanted pieces."""
        if self.gate is not None:
            self.gate.wait()
        if self.failure is not None:
            raise self.failure
        self.rows += len(ids)
        self.largest = max(self.largest, ids.shape[1])
        self.threads.add(threading.current_thread().name)
        assert (ids[:, 0] == WORDS.index("[CLS]")).all()
        assert (np.take_along_axis(ids, mask.sum(1, keepdims=True) - 1, 1) == WORDS.index("[SEP]")).all()
        pieces = ids % len(WORDS)
        around = (pieces * mask).sum(1, keepdims=True) % 7 / 10
        scores = np.zeros((*ids.shape, 3), np.float32)
        scores[..., 0] = 2
        scores[..., 1] = 4.0 * (pieces == PERSON) + around
        scores[..., 2] = 4.0 * (pieces == PLACE) - around
        found: npt.NDArray[np.float32] = scores.reshape(-1, 3)[words]
        return found


@pytest.fixture(scope="module")
def graph() -> StubGraph:
    """Stand in for the graph."""
    return StubGraph()


def load(folder: Path, graph: StubGraph, **options: Any) -> Tagger:
    """Load a bundle whose graph is a stub."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Graph, "open", lambda _: graph)
        return Tagger.load(folder, **options)


@pytest.fixture(scope="module")
def stub(graph: StubGraph, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tagger]:
    """Load a tagger of two threads on the stub."""
    folder = write_small(tmp_path_factory.mktemp("bundles") / "small", fewnerd={"window": 20, "overlap": 6})
    with load(folder, graph, threads=2) as tagger:
        yield tagger


texts = st.one_of(
    st.lists(st.sampled_from(["a", "b", "Berlin", "BERLIN", ".", "\n\n", "b's", "'", "bb"]), max_size=90).map(
        " ".join
    ),
    st.text(st.one_of(st.characters(), st.sampled_from("bB berlin.\n\u200d\u0301\x00İ👩"))),
)


def test_entities_are_told_with_place_and_type(stub: Tagger) -> None:
    """An entity is its text, place in code points, category, type, label and score."""
    (found,) = stub.tag(["a 👩‍👩‍👧 Berlin's a"])
    assert [dataclasses.replace(entity, score=0.0, coarse_score=0.0) for entity in found] == [
        Entity("Berlin", 8, 14, "location", "GPE", "location-GPE", 0.0, 0.0)
    ]
    assert 0.5 < found[0].score <= found[0].coarse_score < 1
    assert stub.labels == ("person-other", "location-GPE")
    assert stub.info.name == "small"


@given(st.lists(texts, max_size=5))
def test_an_entitys_text_is_where_it_says(stub: Tagger, given_texts: list[str]) -> None:
    """``text[start:end]`` is the entity's text for any Unicode, in order and without overlap."""
    found = stub.tag(given_texts)
    assert len(found) == len(given_texts)
    for text, entities in zip(given_texts, found, strict=True):
        previous = 0
        for entity in entities:
            assert previous <= entity.start < entity.end <= len(text)
            assert text[entity.start : entity.end] == entity.text
            assert 0 <= entity.score <= 1
            previous = entity.end


@given(st.lists(texts, min_size=1, max_size=8), st.integers(20, 400))
def test_a_texts_result_depends_on_nothing_but_itself(
    stub: Tagger, given_texts: list[str], budget: int
) -> None:
    """Alone, among others, and in batches of another size a text gets the same."""
    together = stub.tag(given_texts)
    assert [stub.tag([text])[0] for text in given_texts] == together
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(windows, "BATCH_PIECES", budget)
        patch.setattr(queue, "CHUNK_TEXTS", 2)
        assert stub.tag(given_texts) == together


def test_many_callers_share_the_threads(stub: Tagger, graph: StubGraph) -> None:
    """Calls from many threads at once each get their own answers, computed by the two runner threads alone."""
    graph.threads.clear()
    windows = [[f"b Berlin a{'a ' * (n % 7)}Berlin" for _ in range(n % 5 + 1)] for n in range(60)]
    expected = [stub.tag(window) for window in windows]
    with ThreadPoolExecutor(8) as callers:
        assert list(callers.map(stub.tag, windows)) == expected
    assert {name.rpartition("-")[0] for name in graph.threads} == {"tagger"}
    assert len(graph.threads) <= 2


def test_a_long_text_does_not_keep_others_waiting(stub: Tagger, graph: StubGraph) -> None:
    """Batches take turns among callers: a short text is done while a long one is still under way."""
    long = threading.Thread(target=stub.tag, args=([" ".join(["b"] * 200_000)],))
    long.start()
    try:
        for _ in range(20):
            stub.tag(["Berlin"])
        assert long.is_alive()
    finally:
        long.join()
    assert graph.largest <= 22


def test_nothing_of_a_very_long_text_is_left_out(stub: Tagger, graph: StubGraph) -> None:
    """Of a 5 MB text without a sentence's end every name is found, in windows of bounded length."""
    text = "a Berlin aaaaaaaa b " * 250_000
    (found,) = stub.tag([text])
    assert len(text) == 5_000_000
    assert [entity.start for entity in found if entity.label == "location-GPE"] == list(
        range(2, len(text), 20)
    )
    assert found[-1].end == len(text) - 1
    assert graph.largest <= 22


def test_a_word_of_a_megabyte_keeps_its_place(stub: Tagger) -> None:
    """Names on both sides of a word of a million letters, and of a million marks, are found in their places."""
    for long in ("a" * 1_000_000, "—" * 1_000_000, "'b" * 500_000):
        (found,) = stub.tag([f"Berlin {long} Berlin"])
        places = [(entity.start, entity.end) for entity in found if entity.text == "Berlin"]
        assert places == [(0, 6), (1_000_008, 1_000_014)]


def test_a_blank_line_parts_entities(stub: Tagger) -> None:
    """One label on both sides of a blank line is two entities, on both sides of a line's end one."""
    assert [entity.text for entity in stub.tag(["Berlin\n\nBerlin"])[0]] == ["Berlin", "Berlin"]
    assert [entity.text for entity in stub.tag(["Berlin\nBerlin"])[0]] == ["Berlin\nBerlin"]


def test_empty_input_is_no_trouble(stub: Tagger) -> None:
    """No texts, and texts without a word, give empty answers."""
    assert stub.tag([]) == []
    assert stub.tag(["", " \n ", "\x00\u200b"]) == [[], [], []]


def test_thresholds_and_labels_choose_what_is_told(tmp_path: Path, graph: StubGraph) -> None:
    """A threshold for all, one by label, and a choice of labels each hold back the rest."""
    folder = write_small(tmp_path / "small")
    text = "b a Berlin"

    def labels(**options: Any) -> list[str]:
        with load(folder, graph, threads=1, **options) as tagger:
            return [entity.label for entity in tagger.tag([text])[0]]

    assert labels() == ["person-other", "location-GPE"]
    assert labels(thresholds=1.0) == []
    assert labels(thresholds={"person-other": 1.0}) == ["location-GPE"]
    assert labels(thresholds={"person": 1.0}) == ["location-GPE"]
    assert labels(labels=["person-other"]) == ["person-other"]
    assert labels(labels=[]) == []


def test_a_bundles_own_least_score_holds_until_another_is_named(tmp_path: Path, graph: StubGraph) -> None:
    """What a bundle does not tell of itself is told at threshold 0, and by label where only some are named."""
    folder = write_small(tmp_path / "small")
    content = {"weight": 0, "temperature": 1, "smoothing": 1, "transitions": {}, "least": 0.999}
    (folder / "decoding.json").write_text(json.dumps(content))

    def labels(**options: Any) -> list[str]:
        with load(folder, graph, threads=1, **options) as tagger:
            return [entity.label for entity in tagger.tag(["b a Berlin"])[0]]

    assert labels() == []
    assert labels(thresholds=0) == ["person-other", "location-GPE"]
    assert labels(thresholds={"location-GPE": 0}) == ["location-GPE"]
    assert labels(thresholds={"location": 0}) == ["location-GPE"]


def test_a_bundles_thresholds_are_of_categories_and_of_types(tmp_path: Path, graph: StubGraph) -> None:
    """A category's is held against the coarse score, a type's against the score; naming either replaces it."""
    folder = write_small(tmp_path / "small")
    content = {"weight": 0, "temperature": 1, "smoothing": 1, "transitions": {}}
    thresholds = {"categories": {"person": 0.999}, "types": {"location-GPE": 0.999}}
    (folder / "decoding.json").write_text(json.dumps(content | {"thresholds": thresholds}))

    def labels(**options: Any) -> list[str]:
        with load(folder, graph, threads=1, **options) as tagger:
            return [entity.label for entity in tagger.tag(["b a Berlin"])[0]]

    assert labels() == []
    assert labels(thresholds={"person": 0.1}) == ["person-other"]
    assert labels(thresholds={"location-GPE": 0.1}) == ["location-GPE"]
    assert labels(thresholds={"location": 0.1}) == ["location-GPE"]
    assert labels(thresholds={"location": 0.1, "location-GPE": 0.9995}) == []
    assert labels(thresholds={"person-other": 0.1}) == ["person-other"]


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"thresholds": 1.5}, "0 to 1"),
        ({"thresholds": {"art-film": 0.5}}, "no label art-film"),
        ({"labels": ["film"]}, "no label film"),
        ({"threads": 0}, "at least 1"),
    ],
)
def test_senseless_options_are_refused(
    tmp_path: Path, graph: StubGraph, options: dict[str, Any], reason: str
) -> None:
    """The message names what is wrong."""
    with pytest.raises(ValueError, match=reason):
        load(write_small(tmp_path / "small"), graph, **options)


def test_what_fails_in_a_runner_reaches_its_caller(tmp_path: Path) -> None:
    """An error in the graph is raised by `tag`, and the tagger goes on."""
    graph = StubGraph()
    with load(write_small(tmp_path / "small"), graph, threads=2) as tagger:
        graph.failure = RuntimeError("out of memory")
        with pytest.raises(RuntimeError, match="out of memory"):
            tagger.tag(["Berlin"] * 600)
        graph.failure = None
        assert len(tagger.tag(["Berlin"])[0]) == 1


def test_a_call_at_work_gives_signs_of_life(tmp_path: Path) -> None:
    """One for each batch at least, and none any more once all are done."""
    beats: list[int] = []
    graph = StubGraph()
    with load(write_small(tmp_path / "small"), graph, threads=2) as tagger:
        graph.gate = threading.Event()
        with ThreadPoolExecutor(1) as caller:
            answer = caller.submit(tagger.tag, ["a Berlin s " * 4000], lambda: beats.append(1))
            while not tagger._board._slabs:
                time.sleep(0.01)
            before = len(beats)
            graph.gate.set()
            answer.result()
        assert len(beats) - before >= 4000 * 3 / windows.BATCH_PIECES
        after = len(beats)
        tagger.tag(["Berlin"])
        assert len(beats) == after


def test_a_call_that_waits_for_its_turn_is_alive_as_long_as_another_is(tmp_path: Path) -> None:
    """Behind a long text on the only runner a short one gives signs of life; behind one that hangs it gives none."""
    beats: list[int] = []
    graph = StubGraph()
    with load(write_small(tmp_path / "small"), graph, threads=1) as tagger, ThreadPoolExecutor(2) as callers:
        graph.gate = threading.Event()
        long = callers.submit(tagger.tag, ["a Berlin s " * 20_000])
        while not any(slab.groups for slab in tagger._board._under_way):
            time.sleep(0.01)
        short = callers.submit(tagger.tag, ["Berlin"], lambda: beats.append(1))
        while len(tagger._board._under_way) < 2:
            time.sleep(0.01)
        before = len(beats)
        time.sleep(0.2)
        assert len(beats) == before
        graph.gate.set()
        long.result()
        assert len(short.result()[0]) == 1
        assert len(beats) > before
        assert not tagger._board._under_way


def test_grouping_many_windows_gives_signs_of_life(stub: Tagger) -> None:
    """Groups come longest first, whatever was grouped in one go, and hold each window once."""
    pieces = stub.encode(["b\n\n" * 20_000 + "a Berlin s " * 50])
    beats: list[int] = []
    groups = stub.batches(pieces, lambda: beats.append(1))
    assert len(beats) == 3
    longest = [max(window.end - window.start for window in group) for group in groups]
    assert longest == sorted(longest, reverse=True)
    starts = sorted(window.word for group in groups for window in group)
    assert len(set(starts)) == len(starts) > 20_000


@given(
    st.lists(st.integers(1, 3), max_size=60).map(np.cumsum),
    st.sets(st.integers(0, 180)),
    st.integers(1, 9),
    st.integers(9, 20),
)
def test_what_is_decoded_at_once_is_whole_chains(
    steps: Ints, apart: set[int], at_once: int, most: int
) -> None:
    """Runs cover all words in order, begin where a chain does unless it is endless, and are bounded."""
    words = np.array(steps, np.int64)
    parted = np.array([word in apart for word in range(190)])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(queue, "_DECODED_AT_ONCE", at_once)
        patch.setattr(queue, "_LONGEST_CHAIN", most)
        runs = list(queue.decoded_at_once(words, parted))
    assert [place for first, past in runs for place in range(first, past)] == list(range(words.size))
    for (begin, first), _ in itertools.pairwise(runs):
        cut = words[first] - words[first - 1] != 1 or parted[words[first]]
        assert cut or first - begin == most


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_scores_that_are_no_finite_numbers_are_the_models_failure(value: float) -> None:
    """Not a text without entities: the caller must know."""
    graph = Graph(Session(value), 3)
    ids = np.ones((1, 4), np.int64)
    with pytest.raises(ScoresError, match="not finite"):
        graph.scores(ids, ids, np.array([1, 2]))


@pytest.mark.parametrize("shape", [(1, 4, 2), (1, 3, 3), (4, 3), (2, 4, 3)])
def test_scores_of_another_shape_are_the_models_failure(shape: tuple[int, ...]) -> None:
    """They would be taken for another word's, or another label's."""
    graph = Graph(Session(0.0, shape), 3)
    ids = np.ones((1, 4), np.int64)
    with pytest.raises(ScoresError, match="scores are"):
        graph.scores(ids, ids, np.array([1, 2]))


def test_closing_finishes_what_was_begun_and_refuses_more(tmp_path: Path) -> None:
    """A call under way when the tagger closes gets its answer; a later one is refused; threads are gone."""
    graph = StubGraph()
    graph.gate = threading.Event()
    tagger = load(write_small(tmp_path / "small"), graph, threads=2)
    with ThreadPoolExecutor(2) as callers:
        answer = callers.submit(tagger.tag, ["Berlin"] * 5)
        while not tagger._pool._threads[0].is_alive() or tagger._pool._waiting:
            pass
        closing = callers.submit(tagger.close)
        graph.gate.set()
        assert [len(found) for found in answer.result()] == [1] * 5
        closing.result()
    assert not any(thread.is_alive() for thread in tagger._pool._threads)
    with pytest.raises(PoolClosedError):
        tagger.tag(["Berlin"])
    tagger.close()


def test_undecoded_scores_cover_every_word(stub: Tagger) -> None:
    """`log_probabilities` gives each word's place and a distribution over all labels."""
    text = "a Berlin. " * 40
    ((spans, scores),) = stub.log_probabilities([text])
    assert spans[:3].tolist() == [[0, 1], [2, 8], [8, 9]]
    assert scores.shape == (120, 3)
    assert np.allclose(np.exp(scores).sum(1), 1, atol=1e-5)
    assert (scores[1::3].argmax(1) == 2).all()


def test_a_graph_that_cannot_be_opened_is_refused(small: Path) -> None:
    """What is no ONNX file is said to be none."""
    with pytest.raises(BundleError, match=r"model\.onnx: onnxruntime cannot open it"):
        Tagger.load(small)
