"""The console in a real browser: hostile documents, many documents, no broker, many browsers, no mouse, no eyes."""
# ruff: noqa: E501 - scripts for the page stand in one line

from __future__ import annotations

import json
import os
import re
import signal
import time
import urllib.error
import urllib.request
from typing import TYPE_CHECKING, Any

import psutil
import pytest
from playwright.sync_api import expect

from fewnerd_stream.errors import Reason
from tests.browser.conftest import TOKEN, Entity, Stage
from tests.support.clients import Observer
from tests.support.processes import until

if TYPE_CHECKING:
    from collections.abc import Callable

PARIS = "Angela Merkel flew to Paris."


def _paris(stage: Stage, text: str = PARIS, **more: Any) -> Any:
    person, place = (
        Entity(text, "Angela Merkel", "person-politician", 0.97),
        Entity(text, "Paris", "location-GPE", 0.91),
    )
    return stage.document(text, person, place, **more)


def test_documents_are_shown_as_what_they_are(stage: Stage, page: Any) -> None:
    """A script, an event handler, a link, a style, an override of the direction: text, nothing else."""
    attacks = [
        "<script>alert(1)</script> Paris",
        '<img src=x onerror="alert(1)"> Paris',
        '"><svg onload=alert(1)> Paris',
        "<style>*{display:none}</style> Paris",
        "{{7*7}} ${7*7} javascript:alert(1) Paris",
        "\u202egnihton\u202c \u2066x Paris \u0007",
    ]
    page.goto(stage.url)
    stage.send(
        *(
            stage.document(
                one,
                Entity(one, "Paris", "location-GPE"),
                title=f"{one[:30]}",
                url="javascript:alert(1)",
                feed=one,
            )
            for one in attacks
        )
    )
    expect(page.locator(".doc")).to_have_count(len(attacks))
    for attack in attacks[:5]:
        expect(
            page.locator(".doc .marked", has_text=attack[:25])
            .or_(page.locator(".doc h2", has_text=attack[:25]))
            .first
        ).to_be_visible()
    assert page.locator("#documents :is(script, img, svg, style, iframe, a)").count() == 0
    assert not re.search("[\u202a-\u202e\u2066-\u2069\u0007]", page.locator("#documents").inner_text())
    assert page.locator(".doc .e", has_text="Paris").count() == len(attacks)


def test_an_entity_stands_where_it_stands(stage: Stage, page: Any) -> None:
    """Behind emoji and combining marks, in Arabic and Hebrew: offsets count code points."""
    texts = ["👩‍🔬🇩🇪 e\u0301 Paris!", "وصلت Paris أمس إلى", "שלום Paris שלום", "𝔘𝔫𝔦 Paris"]
    page.goto(stage.url)
    stage.send(*(stage.document(one, Entity(one, "Paris", "location-GPE")) for one in texts))
    expect(page.locator(".doc .e")).to_have_count(len(texts))
    for mark in page.locator(".doc .e").all():
        assert mark.evaluate("node => node.firstChild.data") == "Paris"
    assert (
        page.locator(".doc .marked", has_text="وصلت").evaluate("node => getComputedStyle(node).unicodeBidi")
        == "plaintext"
    )


def test_a_word_of_a_mebibyte_is_cut_until_it_is_opened(stage: Stage, page: Any) -> None:
    """It widens nothing, and the page still answers."""
    word = "Paris " + "x" * (1 << 20)
    page.set_viewport_size({"width": 390, "height": 844})
    page.goto(stage.url)
    stage.send(stage.document(word, Entity(word, "Paris", "location-GPE")))
    more = page.get_by_role("button", name="Show all 1,048,582 characters")
    expect(more).to_be_visible()
    assert len(page.locator(".doc").inner_text()) < 2_000
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    more.click()
    expect(page.get_by_role("button", name="Show less")).to_be_visible()
    assert len(page.locator(".doc .marked").text_content()) > 1 << 20
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    page.get_by_role("button", name="Show less").click()
    expect(more).to_be_visible()


def test_categories_of_a_document_come_together_and_filters_choose(stage: Stage, page: Any) -> None:
    """By category, type, score, text and feed; and back."""
    page.goto(stage.url)
    other = "Toyota recalled cars."
    stage.send(
        _paris(stage, title="Merkel", feed="World", url="https://example.org/1"),
        stage.document(other, Entity(other, "Toyota", "organization-company", 0.5), feed="Business"),
        stage.document("Nothing here.", feed="World"),
    )
    docs = page.locator(".doc")
    expect(docs).to_have_count(3)
    expect(page.locator(".doc", has_text="Angela").locator(".e")).to_have_count(2)
    assert page.locator(".doc h2 a").get_attribute("rel") == "noopener noreferrer nofollow"
    uses: list[tuple[Callable[[], object], str]] = [
        (lambda: page.get_by_role("button", name="person", exact=True).click(), "Angela"),
        (lambda: page.get_by_role("combobox", name="Type").fill("comp"), "Toyota"),
        (lambda: page.get_by_label("Text", exact=True).first.fill("NOTHING"), "Nothing"),
        (lambda: page.get_by_label("Feed").select_option("Business"), "Toyota"),
        (lambda: page.get_by_label("Score").fill("80"), "Angela"),
        (lambda: page.get_by_role("button", name="none", exact=True).click(), "Nothing"),
    ]
    for use, words in uses:
        use()
        expect(docs).to_have_count(1)
        expect(docs).to_contain_text(words)
        page.get_by_role("button", name="Clear").click()
        expect(docs).to_have_count(3)


def test_a_pause_holds_the_page_and_counts(stage: Stage, page: Any) -> None:
    """What comes meanwhile is there afterwards."""
    page.goto(stage.url)
    stage.send(_paris(stage))
    expect(page.locator(".doc")).to_have_count(1)
    page.get_by_role("button", name="Pause").click()
    stage.send(*(_paris(stage) for _ in range(3)))
    expect(page.locator("#live-note")).to_contain_text("3 new while paused")
    assert page.locator(".doc").count() == 1
    page.get_by_role("button", name="Go on").click()
    expect(page.locator(".doc")).to_have_count(4)


def test_it_is_used_without_a_mouse(stage: Stage, page: Any) -> None:
    """To the content, through the pages, from entity to entity; what an entity is stands in its name and its tip."""
    page.goto(stage.url)
    stage.send(_paris(stage))
    expect(page.locator(".doc")).to_have_count(1)
    page.keyboard.press("Tab")
    expect(page.locator(".skip")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("#main")).to_be_focused()
    page.locator(".doc").focus()
    page.keyboard.press("ArrowRight")
    expect(page.locator(".e").first).to_be_focused()
    expect(page.locator("#tip")).to_have_text("politician  person · 97 %")
    page.keyboard.press("ArrowRight")
    expect(page.locator("#tip")).to_contain_text("GPE")
    page.keyboard.press("Escape")
    expect(page.locator("#tip")).to_be_hidden()
    assert "(person, politician, 97 %)" in page.locator(".e").first.text_content()
    page.get_by_role("link", name="Numbers").focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="Numbers", exact=True)).to_be_visible()
    assert page.title() == "Numbers · fewnerd-stream"


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_axe_finds_nothing(
    stage: Stage, chromium: Any, axe: Callable[[Any], list[str]], scheme: Any, width: int
) -> None:
    """On every page, empty and with something on it, in both colours and both widths, and nothing is cut off."""
    stage.bury(b'{"id": "x"')
    context = chromium.new_context(
        color_scheme=scheme, viewport={"width": width, "height": 844}, reduced_motion="reduce"
    )
    page = context.new_page()
    page.goto(stage.url)
    expect(page.locator("#live-empty")).to_be_visible()
    assert axe(page) == []
    long = f"{PARIS} {'Word ' * 1000}"
    stage.send(_paris(stage, title="A title", feed="World", url="https://example.org/"), _paris(stage, long))
    expect(page.locator(".doc")).to_have_count(2)
    page.get_by_role("button", name="Show all").click()
    expect(page.get_by_role("button", name="Show less")).to_be_visible()
    page.locator(".e").first.focus()
    assert axe(page) == []
    page.get_by_role("link", name="Numbers").click()
    expect(page.locator("#precision li").first).to_be_visible()
    expect(page.locator("#chart-rate canvas")).to_be_visible()
    assert axe(page) == []
    page.get_by_role("link", name="Dead letters").click()
    assert axe(page) == []
    page.get_by_label("Token").fill(TOKEN)
    page.get_by_role("button", name="Open", exact=True).click()
    page.get_by_role("button", name="Open letter").click()
    expect(page.locator("#letter h2")).to_be_visible()
    assert axe(page) == []
    page.get_by_role("link", name="Try").click()
    assert axe(page) == []
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    context.close()


def test_a_dead_letter_is_found_repaired_and_replayed(stage: Stage, page: Any) -> None:
    """With the token alone; what is sent is the repaired value, once; the others go in bulk, as they are."""
    stage.bury(b'{"id": "r-1", "text": "Angela Merkel')
    stage.bury(b"\xff\xfe not UTF-8", Reason.INVALID_UTF8)
    stage.bury(b'{"id": "r-3", "text": "fine"}', Reason.MODEL_ERROR)
    page.goto(f"{stage.url}/#dead")
    page.get_by_label("Token").fill("not-the-token-at-all")
    page.get_by_role("button", name="Open", exact=True).click()
    expect(page.get_by_role("alert")).to_have_text("This is not the token.")
    page.get_by_label("Token").fill(TOKEN)
    page.get_by_role("button", name="Open", exact=True).click()
    rows = page.locator("#letters tbody tr")
    expect(rows).to_have_count(3)
    page.get_by_role("searchbox", name="Search").fill("merkel")
    page.get_by_role("button", name="Search").click()
    expect(rows).to_have_count(1)
    rows.get_by_role("button").click()
    letter = page.locator("#letter")
    expect(letter).to_contain_text("no <b>JSON</b>")
    send = page.get_by_role("button", name="Repair and replay")
    expect(send).to_be_disabled()
    page.get_by_label("Value").fill('{"id": "r-1", "text": ""}')
    expect(letter.locator(".error")).to_contain_text("blank-text")
    page.get_by_label("Value").fill('{"id": "r-1", "text": "Angela Merkel spoke."}')
    expect(letter.locator(".okay")).to_be_visible()
    send.click()
    expect(page.locator("#dead-note")).to_have_text("1 replayed.")
    expect(rows).to_contain_text("replayed")
    page.get_by_role("searchbox", name="Search").fill("")
    page.get_by_label("Reason").select_option("invalid-utf8")
    page.get_by_role("button", name="Search").click()
    expect(rows).to_contain_text("invalid-utf8")
    rows.get_by_role("button").click()
    expect(letter.locator("pre").first).to_contain_text("ff fe 20 6e")
    page.get_by_label("Reason").select_option("")
    page.get_by_role("button", name="Search").click()
    expect(rows).to_have_count(3)
    page.get_by_label("Select all").check()
    page.get_by_role("button", name="Replay 2 selected").click()
    expect(page.locator("#dead-note")).to_have_text("2 replayed.")
    retry = stage.settings.topology.inputs[0].retries[0]
    sent = [message.value for message in Observer(stage.broker.bootstrap).read([retry])]
    assert sorted(value or b"" for value in sent) == sorted(
        [
            b'{"id": "r-1", "text": "Angela Merkel spoke."}',
            b"\xff\xfe not UTF-8",
            b'{"id": "r-3", "text": "fine"}',
        ]
    )


def test_no_other_site_can_ask_for_anything(stage: Stage) -> None:
    """Neither by a form, nor under another name, nor without the token."""

    def ask(path: str, data: bytes | None = None, **headers: str) -> int:
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        request = urllib.request.Request(stage.url + path, data, sent)
        try:
            with urllib.request.urlopen(request, timeout=20) as answer:
                status: int = answer.status
                return status
        except urllib.error.HTTPError as error:
            with error:
                return error.code

    body, mine = b'{"value": "x"}', f"Bearer {TOKEN}"
    assert ask("/api/dead/check", body, Content_Type="application/json", Authorization=mine) == 200
    assert ask("/api/dead/check", body, Content_Type="application/json") == 401
    assert ask("/api/dead/check", body, Content_Type="text/plain", Authorization=mine) == 403
    assert (
        ask(
            "/api/dead/check",
            body,
            Content_Type="application/json",
            Authorization=mine,
            Origin="https://evil.example",
        )
        == 403
    )
    assert (
        ask(
            "/api/dead/check",
            body,
            Content_Type="application/json",
            Authorization=mine,
            Sec_Fetch_Site="cross-site",
        )
        == 403
    )
    assert ask("/api/events", Host="evil.example") == 421
    assert ask("/api/dead") == 401
    assert ask("/../conftest.py") == 404
    assert ask("/api/tag", b'{"text": 5}', Content_Type="application/json") == 422
    assert ask("/api/tag", b"[]", Content_Type="application/json") == 400


def test_a_text_is_tried_and_shared(stage: Stage, page: Any, chromium: Any) -> None:
    """The model marks it; the link shows the same to somebody else, and is no markup either."""
    page.goto(f"{stage.url}/#try")
    page.get_by_label("Text", exact=True).last.fill(
        "Angela Merkel flew to Paris. <img src=x onerror=alert(1)> 🇩🇪"
    )
    page.get_by_role("button", name="Find entities").click()
    expect(page.locator("#try-list li").first).to_contain_text("Angela Merkel", timeout=90_000)
    page.get_by_role("button", name="Copy a link").click()
    expect(page.locator("#try-note")).to_contain_text(re.compile("Copied|address bar"))
    other = chromium.new_context().new_page()
    other.goto(page.url)
    expect(other.locator("#try-marked .e").first).to_have_text(re.compile("^Angela Merkel"))
    assert other.locator("#try-marked img").count() == 0
    other.context.close()


def test_a_broker_that_is_away_is_told_and_waited_for(stage: Stage, page: Any) -> None:
    """The page says so, for dead letters too, keeps what it has, and goes on by itself."""
    page.goto(stage.url)
    stage.send(_paris(stage))
    expect(page.locator(".doc")).to_have_count(1)
    assert stage.broker.pid
    os.kill(stage.broker.pid, signal.SIGSTOP)
    try:
        page.get_by_role("link", name="Dead letters").click()
        page.get_by_label("Token").fill(TOKEN)
        page.get_by_role("button", name="Open", exact=True).click()
        expect(page.locator("#state.bad")).to_be_visible(timeout=90_000)
        expect(page.get_by_role("alert")).to_contain_text("broker", timeout=90_000)
        page.get_by_role("link", name="Live").click()
        expect(page.locator(".doc")).to_have_count(1)
    finally:
        os.kill(stage.broker.pid, signal.SIGCONT)
    expect(page.locator("#state-text")).to_have_text("no worker", timeout=90_000)
    stage.send(_paris(stage))
    expect(page.locator(".doc")).to_have_count(2)


def test_a_console_that_is_gone_is_told(stage: Stage, page: Any) -> None:
    """Nothing that is shown passes for news."""
    page.goto(stage.url)
    stage.send(_paris(stage))
    expect(page.locator(".doc")).to_have_count(1)
    stage.process.kill()
    expect(page.locator("#state-text")).to_have_text("the console does not answer")
    expect(page.locator(".doc")).to_have_count(1)


def test_ten_browsers_see_what_one_sees(stage: Stage, chromium: Any) -> None:
    """From one reader: each document reaches all of them."""
    contexts = [chromium.new_context() for _ in range(10)]
    pages = [context.new_page() for context in contexts]
    for page in pages:
        page.goto(stage.url)
    for page in pages:
        expect(page.locator("#state-text")).to_have_text("no worker")
    stage.send(*(_paris(stage) for _ in range(5)))
    for page in pages:
        expect(page.locator(".doc")).to_have_count(5)
    for context in contexts:
        context.close()


def test_two_hundred_documents_a_second_freeze_nothing(stage: Stage, page: Any) -> None:
    """At most four updates a second come, few are drawn, the rest is counted, memory stays, and buttons work."""
    seconds = int(os.environ.get("BROWSER_LOAD_SECONDS", "8"))
    page.add_init_script(
        "window.updates = 0; window.slowest = 0;"
        "new PerformanceObserver((list) => { for (const one of list.getEntries())"
        " window.slowest = Math.max(window.slowest, one.duration); }).observe({type: 'event', durationThreshold: 16});"
        "const Source = window.EventSource; window.EventSource = class extends Source { constructor(...rest) { super(...rest);"
        " this.addEventListener('documents', () => window.updates++); } };"
    )
    page.goto(stage.url)
    text = "Angela Merkel flew to Paris, where she met people of all kinds. " * 8
    process = psutil.Process(stage.process.pid)

    def memory() -> tuple[float, float]:
        page.evaluate("window.gc && gc()")
        return page.evaluate("performance.memory.usedJSHeapSize") / 1e6, process.memory_info().rss / 1e6

    warm: tuple[float, float] | None = None
    began = time.monotonic()
    sent = 0
    while time.monotonic() - began < seconds:
        stage.send(*(_paris(stage, f"{text}{sent + n}", feed="Load") for n in range(200)))
        sent += 200
        page.get_by_role("button", name=re.compile("Pause|Go on")).click()
        page.get_by_role("button", name=re.compile("Pause|Go on")).click()
        if warm is None and sent >= 1000:
            warm = memory()
        time.sleep(max(0.0, began + sent / 200 - time.monotonic()))
    took = time.monotonic() - began
    expect(page.locator("#live-note")).to_contain_text("skipped")
    page.get_by_role("button", name="location", exact=True).click()
    expect(page.locator(".doc")).to_have_count(60)
    assert page.evaluate("updates") <= 4 * took + 8
    end = memory()
    warm = warm or end
    print(
        f"{sent} documents in {took:.0f} s; page {warm[0]:.0f} to {end[0]:.0f} MB, console {warm[1]:.0f} to {end[1]:.0f} MB, "
        f"slowest interaction {page.evaluate('slowest'):.0f} ms, {page.evaluate('updates')} updates"
    )
    assert end[0] - warm[0] < 60
    assert end[1] - warm[1] < 60


def test_a_hidden_tab_rests(stage: Stage, page: Any) -> None:
    """It lets go of the stream, and takes it up when it is seen again."""
    page.goto(stage.url)
    expect(page.locator("#state-text")).to_have_text("no worker")
    hide = "hidden => { Object.defineProperty(document, 'hidden', {value: hidden, configurable: true}); document.dispatchEvent(new Event('visibilitychange')); }"
    page.evaluate(hide, True)
    expect(page.locator("#state-text")).to_have_text("resting")
    stage.send(_paris(stage))
    until("the console knows", lambda: b"Merkel" in _events(stage), 30)
    assert page.locator(".doc").count() == 0
    page.evaluate(hide, False)
    expect(page.locator(".doc")).to_have_count(1)


def _events(stage: Stage) -> bytes:
    with urllib.request.urlopen(f"{stage.url}/api/events", timeout=20) as answer:
        return b"".join(answer.readline() for _ in range(4))


def test_what_no_worker_wrote_is_counted_and_left_out(stage: Stage, page: Any) -> None:
    """Records of others on an output topic stop nothing."""
    from fewnerd_stream.contract.records import Outgoing

    page.goto(stage.url)
    topic = stage.settings.topology.outputs["person"]
    values = [
        b"",
        b"null",
        b"[]",
        b"{}",
        b"\xff",
        b'{"source": 5}',
        json.dumps({"source": {"topic": "x"}}).encode(),
    ]
    stage.send(tuple(Outgoing(topic, None, value) for value in values), _paris(stage))
    expect(page.locator(".doc")).to_have_count(1)
