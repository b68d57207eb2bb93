"""Bad input: poison among good documents, documents too large to take or to give, and fuzz."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.faults import fuzz, load
from tests.faults.catalogue import scenario

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.faults.reference import Tagged
    from tests.faults.stage import Stage
    from tests.support.clients import New

_POISON_EVERY = 100
_LARGE = {
    "max_message_bytes": str(512 << 10),
    "max_text_bytes": str(256 << 10),
    "max_result_bytes": str(640 << 10),
}


@scenario(
    6,
    "poison",
    "poison in one document of a hundred, and documents too large to take or to give",
    documents=40_000,
    few=2_000,
    settings=_LARGE,
)
def poison(stage: Stage) -> None:
    """Mix in what no tagger can read, and what is too large on its way in or out."""
    specials: list[str | Tagged] = []
    stage.expected.specials = specials
    stage.mix(_poisoned(stage.seed, specials, int(stage.pick(12, 2))))
    stage.start(2)
    stage.load(backlog=1000, limit=stage.documents, rate=stage.pick(0, 1000))
    stage.until("all is sent", stage.loader.done, 1200)
    stage.faults.append(
        f"{len(specials):,} records of poison, of {len(fuzz.POISON)} kinds, and too large ones"
    )
    stage.settle()


def _poisoned(seed: int, specials: list[str | Tagged], large: int) -> Iterator[tuple[int, New]]:
    """Give the load, every hundredth record poison; the large ones stand apart, some way in."""
    number = 0
    sizes = iter(fuzz.large(_LARGE) * large)
    while True:
        for _ in range(_POISON_EVERY - 1):
            yield number, load.record(seed, number)
            number += 1
        index = len(specials)
        reason, value = fuzz.poison(index)
        if index % 5 == 4 and (one := next(sizes, None)) is not None:
            reason, value = one
        specials.append(reason)
        special = load.SPECIAL + index
        new = load.record(seed, special)
        yield special, type(new)(value, new.key, new.headers)


@scenario(
    6,
    "fuzz",
    "fuzzed inputs, grown from the real format at every level of it",
    documents=20_000,
    few=1_500,
)
def fuzzed(stage: Stage) -> None:
    """Send fuzz among good documents; what must come of it, an oracle of the standard library says."""
    count = int(stage.pick(10_000, 600))
    inputs = [fuzz.grow(stage.seed, index) for index in range(count)]
    verdicts = [fuzz.oracle(one.value) for one in inputs]
    texts = [text for reason, text in verdicts if reason is None]
    tagged = iter(stage.reference.tag(texts))
    stage.reference.close()
    stage.expected.specials = [next(tagged) if reason is None else reason for reason, _ in verdicts]
    stage.mix(_mixed(stage.seed, inputs))
    stage.start(2)
    stage.load(backlog=1000, limit=max(stage.documents, 2 * count + 1), rate=stage.pick(0, 1000))
    stage.until("all is sent", stage.loader.done, 1200)
    stage.figures |= {"fuzzed": count, "fuzzed_and_enriched": len(texts)}
    stage.faults.append(f"{count:,} fuzzed inputs, of which the oracle calls {len(texts):,} good")
    stage.settle()


def _mixed(seed: int, inputs: list[New]) -> Iterator[tuple[int, New]]:
    plain = load.records(seed)
    for index, one in enumerate(inputs):
        yield next(plain)
        number = load.SPECIAL + index
        yield (
            number,
            type(one)(one.value, one.key, (("traceparent", load.traceparent(seed, number)), *one.headers)),
        )
    yield from plain
