"""Texts of this project's own writing, made from a seed: news-like sentences, articles and a mix.

Names are made up of syllables, so that new words keep coming as they do in news; everything else is drawn
from lists. No text is given twice by one `Texts`.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

# Characters of an article, which come to about 300 to 1,000 word pieces.
_ARTICLE: Final = (1_250, 4_100)
# Of a mix, one document in so many is an article.
MIX_EVERY: Final = 10

_ONSETS: Final = "b br c ch cl d dr f fr g gr h j k kl l m n p pr r s sch sh st t tr v w z".split()
_VOWELS: Final = "a a e e i i o o u ai au ea ei ia ie io oa ou".split()
_CODAS: Final = " n n r s l m nd rt ck x th ns ll rg st nn".split(" ")
_FIRST: Final = (
    "Maria Anna Peter John Elena David Laura Omar Yuki Chen Fatima Ahmed Sofia Lucas Emma Noah Ivan Olga Carlos "
    "Lucia Pierre Claire Hans Greta Marco Giulia Kofi Amara Raj Priya Tomas Eva Miguel Rosa Daniel Sarah"
).split()
_PLACES: Final = (
    "Germany France Brazil Kenya Japan Canada Norway Poland Chile Morocco Vietnam Ireland London Berlin Paris Tokyo "
    "Lagos Lima Oslo Cairo Madrid Toronto Warsaw Seoul Dublin Vienna Texas Bavaria Ontario Kerala Scotland Sicily"
).split()
_PLACE_ENDINGS: Final = (
    "burg ville ton stad ford haven field mouth bury dorf berg wick port ley minster".split()
)
_FIRM_ENDINGS: Final = (
    "Group|Industries|Motors|Holdings|Bank|Energy|Systems|Airlines|Pharma|Foods|Partners|& Sons|Ltd.|AG|Inc."
).split("|")
_BODIES: Final = (
    "Ministry of Health|Supreme Court|Central Bank|Football Association|National Assembly|City Council|Air Force"
    "|Chamber of Commerce|Liberal Party|Labour Party|Historical Society|Workers' Union|Broadcasting Corporation"
).split("|")
_BUILDINGS: Final = (
    "Airport|Theatre|Stadium|Cathedral|Hospital|Library|Hotel|Museum|Bridge|Castle|Power Station|Arena".split(
        "|"
    )
)
_EVENTS: Final = (
    "World Championship|Film Festival|Peace Conference|General Election|Grand Prix|Book Fair|Marathon|Earthquake"
    "|Spring Offensive|Music Awards|Trade Fair|Referendum"
).split("|")
_SPECIES: Final = (
    "frog orchid beetle sturgeon virus protein enzyme mineral comet telescope vaccine antibody".split()
)
_ROLES: Final = (
    "minister|director|historian|striker|composer|spokeswoman|economist|architect|judge|general|novelist|chemist"
    "|goalkeeper|archbishop|engineer|editor|mayor|drummer|biologist|chairman|pilot|lawyer"
).split("|")
_VERBS: Final = (
    "said that|announced that|denied that|told reporters that|wrote in a letter that|confirmed on Monday that"
    "|warned that|argued in court that|told the committee that"
).split("|")
_DEEDS: Final = (
    "had agreed to sell its stake in|would move its headquarters from|had signed a contract with"
    "|was planning to build a new plant near|had lost a court case against|was close to a merger with"
    "|had opened an office next to|would no longer sponsor|had recalled vehicles made by|was being investigated by"
).split("|")
_NOUNS: Final = (
    "report budget bridge harbour forest school factory river contract inquiry election strike concert season budget "
    "festival railway lawsuit merger orchestra vaccine satellite manuscript glacier painting tunnel airport treaty "
    "committee referendum harvest parliament exhibition championship investment expedition prototype reactor"
).split()
_ADJECTIVES: Final = (
    "new early local unexpected annual former controversial small large foreign public private modern historic recent "
    "rival joint final northern southern costly temporary independent regional"
).split()
_PREFIXES: Final = ["", "", "", *"un re over under pre non semi post inter counter".split()]
_ROOTS: Final = (
    "anchor balanc barter blend bottl bramb calibrat candl canvass carv chart clamp clatter cobbl coin cord crumb "
    "dapp darn drift dredg etch falter farm ferment filter flour forg fram garland gild glaz graft gravel grind "
    "hammer harbour hatch hedg hinder jost kindl knit lacquer ladder lever linger marbl mend mill mirror mottl "
    "nett oil pack paint parch past pepper piv plant plaster plumb polish port prun quarr quilt raft reed rivet "
    "rust saddl salt sand scatter season shelv shingl shuttl silver sketch slat smelt spar spindl splint stain "
    "stencil stitch tailor tann thatch thresh timber trell turf varnish vault veil wander weav weld whittl window"
).split()
_ENDINGS: Final = "ed ing able ery age ish less ness like worthy some wise ward ly ers ment".split()
_LATER: Final = (
    "after months of talks|in spite of heavy rain|for the third time in two years|without giving a reason"
    "|before the end of the decade|despite protests from residents|at a cost of about {n} million dollars"
    "|according to documents seen by this newspaper|in the second half of {year}|two days before the vote"
    "|which had been closed since {year}|with the help of volunteers|as part of a wider programme"
    "|although nobody had asked for it|by a margin of {n} votes to {m}|on the night of {n} {month}"
).split("|")
_MONTHS: Final = (
    "January February March April May June July August September October November December".split()
)


class Texts:
    """A stream of texts; one seed, one stream."""

    def __init__(self, seed: int) -> None:
        self._draw = random.Random(seed)
        self._seen: set[int] = set()
        self._sentences: tuple[Callable[[], str], ...] = (
            self._statement,
            self._business,
            self._sport,
            self._history,
            self._science,
            self._culture,
            self._building,
            self._event,
            self._plain,
            self._plain,
        )

    def sentences(self, count: int) -> list[str]:
        """Return sentences of about 32 word pieces."""
        return [self._new(self._sentence) for _ in range(count)]

    def articles(self, count: int) -> list[str]:
        """Return articles of 300 to 1,000 word pieces, some in paragraphs."""
        return [self._new(self._article) for _ in range(count)]

    def mix(self, count: int) -> list[str]:
        """Return sentences with an article in place of every tenth."""
        return [
            self._new(self._article if number % MIX_EVERY == MIX_EVERY // 2 else self._sentence)
            for number in range(count)
        ]

    def of_pieces(self, count: int, sentences: int) -> list[str]:
        """Return texts of a fixed number of sentences each."""
        return [self._new(lambda: " ".join(self._sentence() for _ in range(sentences))) for _ in range(count)]

    def _new(self, make: Callable[[], str]) -> str:
        while True:
            text = make()
            key = hash(text)
            if key not in self._seen:
                self._seen.add(key)
                return text

    def _article(self) -> str:
        size = self._draw.uniform(*_ARTICLE)
        parts: list[str] = []
        length = 0
        while length < size:
            sentence = self._sentence()
            length += len(sentence) + 1
            parts += [sentence, "\n\n" if self._draw.random() < 0.2 else " "]
        return "".join(parts[:-1])

    def _sentence(self) -> str:
        return self._draw.choice(self._sentences)()

    # -- kinds of sentences ----------------------------------------------------------------------------

    def _statement(self) -> str:
        return (
            f"{self._person()}, a {self._rare()} {self._one(_ROLES)}, {self._one(_VERBS)} the "
            f"{self._one(_ADJECTIVES)} {self._one(_NOUNS)} would be {self._rare()} {self._later()}."
        )

    def _business(self) -> str:
        return (
            f"The {self._rare()} {self._one(_NOUNS)} shows that {self._firm()} {self._one(_DEEDS)} {self._firm()} "
            f"{self._later()}, and shares fell by {self._amount()} percent."
        )

    def _sport(self) -> str:
        return (
            f"{self._name()} {self._one(('United', 'Rovers', 'City', 'FC', 'Athletic'))} lost the {self._rare()} match "
            f"{self._number(9)}-{self._number(9)} in front of {self._amount()} people {self._later()}, "
            f"and {self._person()} scored twice."
        )

    def _history(self) -> str:
        return (
            f"In {self._year()}, the {self._one(_BODIES)} opened a {self._rare()} {self._one(_NOUNS)} near "
            f"{self._place()}, {self._later()}, and the {self._rare()} {self._one(_NOUNS)} was forgotten."
        )

    def _science(self) -> str:
        return (
            f"Researchers found a {self._one(_ADJECTIVES)} {self._one(_SPECIES)} in {self._amount()} "
            f"{self._rare()} samples from {self._place()} {self._later()}, which few had thought {self._rare()}."
        )

    def _culture(self) -> str:
        return (
            f'The {self._one(_ADJECTIVES)} novel "{self._name()} and the {self._one(_NOUNS).title()}" won the '
            f"{self._name()} Prize {self._later()}; its {self._rare()} {self._one(_ROLES)} wasn't there."
        )

    def _building(self) -> str:
        return (
            f"The {self._one(_ADJECTIVES)} roof of the {self._name()} {self._one(_BUILDINGS)}, {self._rare()} since "
            f"{self._year()}, was repaired {self._later()} for {self._amount()} euros a {self._rare()} metre."
        )

    def _event(self) -> str:
        return (
            f"Nobody at the {self._year()} {self._name()} {self._one(_EVENTS)} had seen the {self._rare()} "
            f"{self._one(_NOUNS)} that {self._amount()} visitors were promised {self._later()}."
        )

    def _plain(self) -> str:
        return (
            f"Most of the {self._rare()} {self._one(_NOUNS)}s were {self._one(_ADJECTIVES)}, and the "
            f"{self._one(_ROLES)} said little about the {self._rare()} {self._one(_NOUNS)} {self._later()}, "
            f"although every {self._one(_ROLES)} had {self._amount()} of them in mind."
        )

    # -- parts of sentences ----------------------------------------------------------------------------

    def _one(self, of: tuple[str, ...] | list[str]) -> str:
        return self._draw.choice(of)

    def _number(self, most: int = 99) -> int:
        return self._draw.randrange(1, most)

    def _amount(self) -> str:
        """Write one of the many numbers that news is full of."""
        kind = self._draw.random()
        if kind < 0.4:
            return f"{self._draw.randrange(1_000, 99_999):,}"
        return f"{self._draw.random() * 100:.1f}" if kind < 0.7 else str(self._draw.randrange(100, 999))

    def _rare(self) -> str:
        """Write a word that is seldom met, as most words of a vocabulary are."""
        root, ending = self._one(_ROOTS), self._one(_ENDINGS)
        if self._draw.random() < 0.3:
            return f"{self._one(_ADJECTIVES)}-{root}{ending}"
        return f"{self._one(_PREFIXES)}{root}{ending}"

    def _year(self) -> int:
        return self._draw.randrange(1790, 2025)

    def _later(self) -> str:
        return self._one(_LATER).format(
            n=self._number(), m=self._number(), year=self._year(), month=self._one(_MONTHS)
        )

    def _name(self) -> str:
        syllables = self._draw.choice((2, 2, 3))
        made = "".join(self._one(_ONSETS) + self._one(_VOWELS) for _ in range(syllables)) + self._one(_CODAS)
        return made.capitalize()

    def _person(self) -> str:
        middle = f" {self._one('ABCDEFGHJKLMNPRSTVW')}." if self._draw.random() < 0.15 else ""  # type: ignore[arg-type]
        return f"{self._one(_FIRST)}{middle} {self._name()}"

    def _place(self) -> str:
        if self._draw.random() < 0.6:
            return self._one(_PLACES)
        return self._name() + self._one(_PLACE_ENDINGS)

    def _firm(self) -> str:
        return f"{self._name()} {self._one(_FIRM_ENDINGS)}"
