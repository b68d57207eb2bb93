"""Decoding finds the categories that the plain Viterbi finds, and the likeliest type in each."""

from __future__ import annotations

import dataclasses
import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from model import decode
from model.decoding import Decoding, fit_transitions

if TYPE_CHECKING:
    from pathlib import Path

    import numpy.typing as npt

    Floats = npt.NDArray[np.float32]
    Ints = npt.NDArray[np.int64]

LABELS = ("O", "person-other", "location-GPE", "art-film")


def path_score(scores: npt.NDArray[Any], path: Ints, decoding: Decoding) -> float:
    """Return what a label sequence is worth, in double precision."""
    before = np.concatenate(([0], path[:-1]))
    moves = decoding.matrix.astype(np.float64)[before, path]
    return float((scores.astype(np.float64)[np.arange(len(path)), path] + moves).sum())


def plain_viterbi(scores: npt.NDArray[Any], decoding: Decoding) -> Ints:
    """Return the best label sequence by the textbook, one word after another, in double precision."""
    matrix = decoding.matrix.astype(np.float64)
    total = scores[0].astype(np.float64) + matrix[0]
    back = []
    for row in scores[1:].astype(np.float64):
        moves = total[:, None] + matrix
        back.append(moves.argmax(0))
        total = moves.max(0) + row
    path = [int(total.argmax())]
    for column in reversed(back):
        path.append(int(column[path[-1]]))
    return np.array(path[::-1])


def exact_masses(scores: Floats, decoding: Decoding) -> npt.NDArray[np.float64]:
    """Return each category's log mass, one category after another, in double precision."""
    exact = scores.astype(np.float64)
    each = [
        np.logaddexp.reduce(exact[:, [name == of for of in decoding.category_of]], axis=1)
        for name in decoding.names
    ]
    return np.stack(each, 1)


def decoded(texts: list[Floats], decoding: Decoding) -> list[Ints]:
    """Decode texts as the tagger does: all at once, the undecided words only; categories by their numbers."""
    scores = np.concatenate(texts)
    begins = np.zeros(len(scores) + 1, np.bool_)
    begins[np.cumsum([0, *map(len, texts)])] = True
    rows = decode.undecided(scores, decoding)
    linked = np.zeros(len(rows), np.bool_)
    linked[1:] = (np.diff(rows) == 1) & ~begins[rows[1:]]
    labels = np.zeros(len(scores), np.int64)
    mass = decode.masses(scores[rows], decoding)
    labels[rows] = decode.best_path(mass, linked, ~begins[rows + 1], decoding)
    return np.split(labels, np.cumsum([len(text) for text in texts])[:-1])


@st.composite
def problems(draw: st.DrawFn) -> tuple[list[Floats], Decoding]:
    """Draw texts' scores, from hopeless to certain, and transitions, from none to harsh."""
    size = draw(st.integers(2, 67))
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    counts = random.integers(0, 1000, (size, size)) * (random.random((size, size)) < random.random())
    counts[0] += np.int64(10 ** random.integers(0, 6))
    groups = draw(st.integers(1, size))
    decoding = Decoding(
        ("O", *(f"{random.integers(groups)}-{label}" for label in range(1, size))),
        counts,
        weight=draw(st.sampled_from([0.0, 0.15, 0.5, 1.0])),
        smoothing=draw(st.sampled_from([0.1, 10.0])),
        stay=draw(st.sampled_from([0.0, -0.4, 0.3])),
        switch=draw(st.sampled_from([0.0, -0.5])),
    )
    spread, lift = draw(st.sampled_from([0.1, 1.0, 4.0])), draw(st.sampled_from([0.0, 3.0, 8.0]))
    lengths = draw(st.lists(st.integers(1, 30), min_size=1, max_size=6))
    texts = [
        (random.normal(size=(n, size)) * spread + lift * np.eye(1, size)).astype(np.float32) for n in lengths
    ]
    return texts, decoding


@given(problems())
def test_the_path_is_the_best_one(problem: tuple[list[Floats], Decoding]) -> None:
    """Splitting the chain where words are certain, and leaving categories out, changes no path."""
    texts, decoding = problem
    for scores, path in zip(texts, decoded(texts, decoding), strict=True):
        mass = exact_masses(scores, decoding)
        best = plain_viterbi(mass, decoding)
        assert path_score(mass, path, decoding) == pytest.approx(path_score(mass, best, decoding), abs=1e-3)
        if not np.array_equal(path, best):  # a tie within float32, else they are one path
            assert len(path) > 1


@given(problems())
def test_texts_decode_alike_alone_and_together(problem: tuple[list[Floats], Decoding]) -> None:
    """What is decoded beside a text does not touch it."""
    texts, decoding = problem
    for scores, path in zip(texts, decoded(texts, decoding), strict=True):
        assert np.array_equal(decoded([scores], decoding)[0], path)


def test_transitions_mend_a_broken_name() -> None:
    """A name whose middle word leans the other way is one entity once transitions count."""
    decoding = fit_transitions([["person-other"] * 3 + ["O"] * 9, ["location-GPE", "O"]] * 50, LABELS)
    probabilities = [[0.05, 0.85, 0.05, 0.05], [0.05, 0.43, 0.47, 0.05], [0.05, 0.85, 0.05, 0.05]]
    scores = np.log(np.array(probabilities, np.float32))
    assert decoded([scores], decoding)[0].tolist() == [1, 1, 1]
    assert decoded([scores], dataclasses.replace(decoding, weight=0.0))[0].tolist() == [1, 2, 1]


def test_many_unlikely_types_of_one_category_outweigh_a_likely_one_of_another() -> None:
    """A word at 0.3, 0.3 for two types of person and 0.4 for a film is a person; its type is decided in it."""
    labels = ("O", "person-actor", "art-film", "person-other")
    decoding = Decoding.plain(labels)
    logits = np.log(np.array([[0.01, 0.28, 0.4, 0.31], [0.01, 0.5, 0.2, 0.29]], np.float32))
    mass = decode.masses(logits, decoding)
    linked = np.array([False, True])
    path = decode.best_path(mass, linked, linked, decoding)
    assert [decoding.names[number] for number in path] == ["person", "person"]
    firsts, pasts = decode.runs(path, linked)
    found, shares = decode.types(logits, path, firsts, pasts, decoding)
    assert [labels[label] for label in found] == ["person-actor"]
    assert 0.5 < shares[0] < 0.6
    coarse = decode.scores(mass, linked, path, firsts, pasts, temperature=1.0)
    assert coarse.tolist() == pytest.approx([0.59])


@given(problems())
def test_a_type_is_of_its_runs_category(problem: tuple[list[Floats], Decoding]) -> None:
    """Each run's label belongs to its category, and its share of the category is more than none, at most all."""
    texts, decoding = problem
    for logits in texts:
        linked = np.arange(len(logits)) > 0
        path = decode.best_path(decode.masses(logits, decoding), linked, linked & False, decoding)
        firsts, pasts = decode.runs(path, linked)
        labels, shares = decode.types(logits, path, firsts, pasts, decoding)
        assert decoding.group[labels].tolist() == path[firsts].tolist()
        assert ((shares > 0) & (shares <= 1 + 1e-6)).all()


def test_sharpness_tells_types_apart_less_and_changes_none() -> None:
    """Divided by more, the winner's share falls towards an equal one."""
    decoding = Decoding.plain(("O", "person-actor", "person-other"))
    logits = np.array([[0, 3, 1]], np.float32)
    one = np.array([0]), np.array([1])
    shares = [
        decode.types(logits, np.array([1]), *one, dataclasses.replace(decoding, sharpness=by))
        for by in (1.0, 2.0)
    ]
    assert [labels.tolist() for labels, _ in shares] == [[1], [1]]
    assert [round(float(share[0]), 3) for _, share in shares] == [0.881, 0.731]


def test_without_transitions_each_word_takes_its_likeliest_category() -> None:
    """The plain decoding is arg-max."""
    scores = np.random.default_rng(0).normal(size=(200, 4)).astype(np.float32)
    assert np.array_equal(decoded([scores], Decoding.plain(LABELS))[0], scores.argmax(1))


def test_counting_begins_each_sentence_after_an_o() -> None:
    """A sentence's first tag counts as following an O, and rows count what follows."""
    decoding = fit_transitions([["person-other", "person-other", "O"], ["O", "art-film"]], LABELS)
    assert decoding.counts.tolist() == [[1, 1, 0, 1], [1, 1, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]]


def test_counting_refuses_a_label_that_the_model_lacks() -> None:
    """A tag that is no label is named, not skipped."""
    with pytest.raises(KeyError, match="event-other"):
        fit_transitions([["event-other"]], LABELS)


def test_saved_and_loaded_it_decodes_alike(tmp_path: Path) -> None:
    """What `save` writes, `load` reads back whole."""
    decoding = fit_transitions(
        [["person-other", "O"], ["art-film"]], LABELS, weight=0.2, temperature=1.3, smoothing=5, stay=-0.4
    )
    thresholds, types = {"person": 0.4}, {"art-film": 0.2}
    decoding = dataclasses.replace(decoding, least=0.3, sharpness=1.2, thresholds=thresholds, types=types)
    decoding.save(tmp_path)
    loaded = Decoding.load(tmp_path / "decoding.json", LABELS)
    assert (loaded.least, loaded.sharpness, loaded.thresholds, loaded.types) == (0.3, 1.2, thresholds, types)
    assert np.array_equal(loaded.counts, decoding.counts)
    assert (loaded.weight, loaded.temperature, loaded.smoothing, loaded.stay) == (0.2, 1.3, 5.0, -0.4)
    assert np.array_equal(loaded.matrix, decoding.matrix)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"weight": -0.1}, "weight must be"),
        ({"temperature": 0}, "temperature and smoothing"),
        ({"least": 1}, "least must be"),
        ({"weight": "much"}, "weight is 'much'"),
        ({"weight": float("nan")}, "weight is nan"),
        ({"sharpness": 0}, "sharpness must be"),
        ({"thresholds": []}, "thresholds must be an object"),
        ({"thresholds": {"types": 1}}, "thresholds.types must be"),
        ({"thresholds": {"categories": {"event": 0.4}}}, "thresholds.categories names 'event'"),
        ({"thresholds": {"types": {"person": 0.4}}}, "thresholds.types names 'person'"),
        ({"thresholds": {"categories": {"person": 1.4}}}, "person must be 0 to 1"),
        ({"transitions": {"O": {"event-other": 3}}}, "names a label that the model lacks"),
        ({"transitions": None}, "no object with `transitions`"),
    ],
)
def test_a_malformed_decoding_is_refused(tmp_path: Path, change: dict[str, object], reason: str) -> None:
    """Numbers out of range and unknown labels are refused by name."""
    Decoding.plain(LABELS).save(tmp_path)
    path = tmp_path / "decoding.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(ValueError, match=reason):
        Decoding.load(path, LABELS)


def test_runs_are_of_one_label_and_of_linked_words() -> None:
    """A run ends where the label changes, where an O stands, and where two words are not linked."""
    labels = np.array([1, 1, 2, 0, 2, 2, 2])
    linked = np.array([False, True, True, True, True, True, False])
    firsts, pasts = decode.runs(labels, linked)
    assert list(zip(firsts.tolist(), pasts.tolist(), strict=True)) == [(0, 2), (2, 3), (4, 6), (6, 7)]


def test_a_score_is_its_least_sure_words_and_its_neighbours() -> None:
    """Of words at 0.9 and 0.8 beside one that might go on at 0.25, the score is 0.8 times 0.75."""
    scores = np.log(np.array([[0.1, 0.9], [0.2, 0.8], [0.75, 0.25], [0.3, 0.7]], np.float32))
    linked = np.array([False, True, True, False])
    labels, firsts, pasts = np.array([1, 1, 0, 1]), np.array([0, 3]), np.array([2, 4])
    found = decode.scores(scores, linked, labels, firsts, pasts, temperature=1.0)
    assert found.tolist() == pytest.approx([0.6, 0.7])
    assert decode.scores(scores, linked, labels, firsts, pasts, temperature=4.0)[1] == pytest.approx(
        0.5528, abs=1e-3
    )


def test_staying_and_switching_have_their_price() -> None:
    """`stay` is added where an entity goes on, `switch` between entities, and neither where an O stands."""
    plain = fit_transitions([["person-other", "art-film", "O"]], LABELS)
    priced = dataclasses.replace(plain, stay=-0.5, switch=-2.0)
    added = priced.matrix - plain.matrix
    assert added[0].tolist() == added[:, 0].tolist() == [0.0] * 4
    assert np.allclose(added[1:, 1:], np.where(np.eye(3, dtype=bool), -0.5, -2.0), atol=1e-6)
