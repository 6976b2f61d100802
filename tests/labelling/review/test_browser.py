"""The page in a real browser, by keyboard. Skipped where there is no Chromium."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from desks import CLASSES, EVIL, desk_of, picture_queue, text_queue
from PIL import Image
from test_killed import Mortal

from regraft.labelling.journal import Decision, Journal
from regraft.labelling.matching import content_key
from regraft.labelling.review.server import ReviewServer

CHROMIUM = Path("/usr/bin/chromium")
playwright = pytest.importorskip("playwright.sync_api")
pytestmark = pytest.mark.skipif(not CHROMIUM.exists(), reason="there is no Chromium")


@pytest.fixture(scope="module")
def chromium():
    with playwright.sync_playwright() as driver:
        arguments = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
        browser = driver.chromium.launch(executable_path=str(CHROMIUM), args=arguments)
        yield browser
        browser.close()


@pytest.fixture
def serve():
    """Serves a queue in this process."""
    running = []

    def serve_(queue, reviewer="ann"):
        server = ReviewServer(desk_of(queue, reviewer), 0, "t" * 32)
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        running.append((server, thread))
        return server

    yield serve_
    for server, thread in running:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.fixture
def open_page(chromium, serve):
    """Opens an address; whatever the page complains about fails the test in the end.

    It needs `serve` only to close its pages before the servers end.
    """
    contexts, complaints = [], []

    def open_(address: str, *, quietly: bool = False, context=None, **settings):
        if context is None:
            context = chromium.new_context(**settings)
            contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(20_000)
        if not quietly:
            page.on("console", lambda said: complaints.append(said.text))
        page.on("pageerror", lambda fault: complaints.append(str(fault)))
        page.on("dialog", lambda dialog: complaints.append(dialog.message))
        page.goto(address)
        page.wait_for_selector(".choice, .done")
        return page

    yield open_
    for context in contexts:
        context.close()
    assert not complaints


def _sample(page) -> str:
    return page.locator(".stage .name code").inner_text()


def _press(page, *keys: str) -> None:
    for key in keys:
        page.keyboard.press(key)


def _until(page, condition: str) -> None:
    """Wait for it; from outside, because the page forbids that text is run as a script."""
    for _ in range(400):
        if page.evaluate(condition):
            return
        page.wait_for_timeout(50)
    raise AssertionError(condition)


def _saved(page) -> None:
    _until(page, "document.querySelector('#saved').textContent.startsWith('all')")


def _decisions(server) -> list[tuple[str, str, tuple[str, ...], str]]:
    standing = server.desk.journal.standing()
    return [(d.sample, d.action, d.labels, d.reviewer) for d in standing]


def test_keep_change_skip_and_undo_by_keyboard(open_page, serve, tmp_path):
    server = serve(picture_queue(tmp_path))
    page = open_page(server.address)
    assert _sample(page) == "000.png"
    image = page.locator(".frame img")
    _until(page, "document.querySelector('.frame img').naturalWidth === 32")
    assert image.get_attribute("alt") == "The sample 000.png"
    _press(page, "Enter")
    assert _sample(page) == "001.png"
    _press(page, "k", "s", "2")
    assert _sample(page) == "004.png"
    _saved(page)
    wanted = [
        ("000.png", "change", ("cat",), "ann"),
        ("001.png", "keep", (), "ann"),
        ("002.png", "skip", (), "ann"),
        ("003.png", "change", ("cat",), "ann"),
    ]
    assert _decisions(server) == wanted
    _press(page, "u", "u")
    assert _sample(page) == "002.png"
    _until(page, "document.querySelector('#progress').textContent.startsWith('2 of 6')")
    _saved(page)
    assert _decisions(server) == wanted[:2]
    _press(page, "c")
    page.locator("#wanted").fill("scr")
    _press(page, "Enter")
    _saved(page)
    assert _decisions(server)[2] == ("002.png", "change", (EVIL,), "ann")


def test_hostile_labels_are_text(open_page, serve, tmp_path):
    page = open_page(serve(picture_queue(tmp_path)).address)
    labels = page.locator(".choices .label").all_inner_texts()
    assert labels == [EVIL, "cat"]
    _press(page, "Enter", "h")
    assert EVIL not in page.locator("#rows").inner_html()
    _press(page, "Escape", "c")
    assert page.locator("#matches li").all_inner_texts() == list(CLASSES)
    assert page.title() == "photos – review"
    assert page.locator("script").count() == 1


def test_a_key_that_is_held_down_decides_once(open_page, serve, tmp_path):
    server = serve(picture_queue(tmp_path))
    page = open_page(server.address)
    for _ in range(4):
        page.keyboard.down("k")
    page.keyboard.up("k")
    _saved(page)
    assert len(_decisions(server)) == 1


def test_filters_and_the_end_of_the_list(open_page, serve, tmp_path):
    page = open_page(serve(picture_queue(tmp_path)).address)
    page.select_option("#class", "dog")
    assert page.locator("#progress").inner_text().endswith("this is 1 of 4")
    page.select_option("#class", "")
    _press(page, "/")
    page.keyboard.type("005")
    assert _sample(page) == "005.png"
    _press(page, "Enter", "k")
    page.wait_for_selector(".done")
    assert "Everything here is decided" in page.locator(".done").inner_text()
    page.locator("#find").fill("")
    page.select_option("#show", "decided")
    assert _sample(page) == "005.png"
    assert "You kept the label" in page.locator(".mine").inner_text()


def test_two_reviewers_do_not_see_each_other_until_they_have_decided(open_page, serve, tmp_path):
    server = serve(picture_queue(tmp_path))
    ann = open_page(server.address)
    _press(ann, "Enter")
    _saved(ann)
    ben = open_page(server.address)
    _press(ben, "r")
    ben.keyboard.type("ben <b>")
    _press(ben, "Enter")
    ben.select_option("#show", "second")
    assert _sample(ben) == "000.png"
    assert "Another reviewer has decided on this." in ben.locator(".voices").inner_text()
    assert "cat" not in ben.locator(".voices").inner_text()
    _press(ben, "k")
    _saved(ben)
    ben.select_option("#show", "divided")
    assert "ann changed it to cat" in ben.locator(".voices").inner_text()
    _press(ben, "h")
    assert "ben <b>" in ben.locator("#counts").inner_text()
    assert [row[3] for row in _decisions(server)] == ["ann", "ben <b>"]


def test_texts_and_what_to_label_next(open_page, serve, tmp_path):
    server = serve(text_queue(tmp_path, ["<img src=x onerror=alert(1)>", "b", "c", "d"]))
    page = open_page(server.address)
    _until(page, "document.querySelector('.stage .text').textContent !== ''")
    assert page.locator(".stage .text").inner_text() == "<img src=x onerror=alert(1)>"
    _press(page, "k")
    assert _sample(page) == "line 2", "there is no label to keep"
    _press(page, "Enter")
    _saved(page)
    assert _decisions(server) == [("line 2", "change", ("dog",), "ann")]
    assert page.locator("#kinds button").all_inner_texts() == [
        "everything3",
        "likely errors2",
        "to label next1",
    ]


def test_several_classes_are_set_one_by_one(open_page, serve, tmp_path):
    server = serve(text_queue(tmp_path, ["a", "b", "c", "d"], multilabel=True))
    page = open_page(server.address)
    page.locator("#kinds button", has_text="likely errors").click()
    _press(page, "1", "2")
    assert page.locator(".choice.main .label").inner_text() == EVIL
    _press(page, "Enter")
    _saved(page)
    assert _decisions(server) == [("line 4", "change", (EVIL,), "ann")]


def test_enter_takes_the_suggestion_after_a_click(open_page, serve, tmp_path):
    server = serve(text_queue(tmp_path, ["a", "b", "c", "d", "e", "f"]))
    page = open_page(server.address)
    page.locator("#kinds button", has_text="to label next").click()
    _press(page, "Enter")
    page.get_by_role("button", name="Skip").click()
    _press(page, "Enter")
    _saved(page)
    assert [row[:3] for row in _decisions(server)] == [
        ("line 2", "change", ("dog",)),
        ("line 3", "skip", ()),
        ("line 4", "change", ("dog",)),
    ]


@pytest.mark.parametrize("key", ["Enter", "Space"])
def test_a_button_that_has_the_focus_is_pressed_by_key(open_page, serve, tmp_path, key):
    server = serve(text_queue(tmp_path, ["a", "b", "c", "d"]))
    page = open_page(server.address)
    page.locator("#kinds button", has_text="to label next").focus()
    _press(page, key, key)
    pressed = page.locator("#kinds button[aria-pressed=true]")
    assert pressed.inner_text() == "to label next2"
    assert page.evaluate("document.activeElement.dataset.kind") == "next"
    assert _decisions(server) == []


def test_single_keys_can_be_switched_off_and_buttons_do_the_same(open_page, serve, tmp_path):
    server = serve(picture_queue(tmp_path))
    page = open_page(server.address)
    _press(page, "?")
    page.locator("#single").uncheck()
    _press(page, "Escape", "k")
    page.get_by_role("button", name="Skip").click()
    _saved(page)
    assert _decisions(server) == [("000.png", "skip", (), "ann")]


def test_a_picture_that_is_gone_is_said(open_page, serve, tmp_path):
    queue = picture_queue(tmp_path)
    queue.samples[0].source.unlink()
    page = open_page(serve(queue).address, quietly=True)
    page.wait_for_selector(".note")
    assert "There is no such file" in page.locator(".note").inner_text()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width_px", [420, 1360])
def test_text_has_contrast_and_nothing_sticks_out(open_page, serve, tmp_path, scheme, width_px):
    page = open_page(
        serve(picture_queue(tmp_path)).address,
        color_scheme=scheme,
        reduced_motion="reduce",
        viewport={"width": width_px, "height": 860},
    )
    _press(page, "Enter")
    assert page.evaluate(_LOW_CONTRAST) == []
    assert page.evaluate(_STICKS_OUT) == []
    assert (
        page.evaluate("getComputedStyle(document.querySelector('.meter i')).transitionDuration")
        == "0s"
    )
    page.keyboard.press("Tab")
    assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") != "none"


_STICKS_OUT = """() => [...document.querySelectorAll('body *')]
  .filter((node) => node.getBoundingClientRect().right > document.documentElement.clientWidth + 1)
  .map((node) => `${node.tagName} ${node.className} ${node.textContent}`)"""

# WCAG 2: 4.5 to 1 for text, against the nearest background that is not transparent.
_LOW_CONTRAST = """() => {
  const rgb = (text) => text.match(/[\\d.]+/g).map(Number);
  const light = ([r, g, b]) => [r, g, b].map((v) => v / 255)
    .map((v) => (v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4))
    .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
  const behind = (node) => {
    for (let at = node; at; at = at.parentElement) {
      const colour = rgb(getComputedStyle(at).backgroundColor);
      if (colour.length === 3 || colour[3] === 1) return colour;
    }
    return [255, 255, 255];
  };
  const found = [];
  for (const node of document.querySelectorAll('body *')) {
    const own = [...node.childNodes].some((child) => child.nodeType === 3 && child.data.trim());
    if (!own || !node.getClientRects().length) continue;
    const [a, b] = [light(rgb(getComputedStyle(node).color)), light(behind(node))];
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (ratio < 4.5) found.push([node.className, node.textContent, ratio]);
  }
  return found;
}"""


def test_a_server_killed_under_the_page_loses_and_doubles_nothing(open_page, tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", "")
    mortal = Mortal(tmp_path)
    page = open_page(mortal.address, quietly=True)
    _press(page, "Enter")
    _saved(page)
    mortal.end()
    _press(page, "k", "s")
    page.wait_for_selector("#banner:not([hidden])")
    assert (
        "2 decisions are not saved yet; this browser keeps them"
        in page.locator("#banner").inner_text()
    )
    mortal.start()
    _until(page, "document.querySelector('#banner').textContent.includes('earlier start')")
    journal = Journal(tmp_path / "photos.decisions.jsonl")
    assert len(journal.standing()) == 1
    context = page.context
    page.close()
    again = open_page(mortal.address, quietly=True, context=context)
    _saved(again)
    assert _sample(again) == "003.png"
    assert [(d.sample, d.action) for d in journal.standing()] == [
        ("000.png", "change"),
        ("001.png", "keep"),
        ("002.png", "skip"),
    ]
    assert len(journal.lines()) == 3
    mortal.end()


def test_what_is_not_taken_is_kept_and_offered_again_at_the_next_start(open_page, serve, tmp_path):
    queue = picture_queue(tmp_path)
    server = serve(replace(queue, samples=queue.samples[:5], items=queue.items[:5]))
    page = open_page(server.address, quietly=True)
    body = {"key": "k" * 8, "sample": "005.png", "reviewer": "ann", "action": "skip", "labels": []}
    entry = {"seq": 1, "at": "", "path": "decide", "body": body}
    name = f"regraft-review:{server.desk.opening()['id']}:{body['key']}"
    page.evaluate("([name, text]) => localStorage.setItem(name, text)", [name, json.dumps(entry)])
    page.reload()
    page.wait_for_selector("#banner:not([hidden])")
    assert "Not taken: 005.png: There is no such sample." in page.locator("#banner").inner_text()
    assert page.evaluate("(name) => localStorage.getItem(name) !== null", name)
    server.desk = desk_of(queue)
    page.reload()
    page.wait_for_selector(".choice")
    _saved(page)
    assert _decisions(server) == [("005.png", "skip", (), "ann")]
    assert page.evaluate("(name) => localStorage.getItem(name) === null", name)


def test_what_was_said_of_a_copy_is_not_shown_for_what_was_said_of_the_sample(
    open_page, serve, tmp_path
):
    queue = picture_queue(tmp_path)
    server = serve(queue)
    content = content_key(queue.samples[0])
    for name, label in (("000.png", "dog"), ("copy.png", "cat")):
        said = Decision(name, name, "ben", "change", (label,), content=content)
        server.desk.journal.decide(said)
    page = open_page(server.address)
    page.select_option("#show", "all")
    page.locator("#panel").focus()
    _press(page, "w")
    assert _sample(page) == "000.png"
    assert "ben changed it to dog" in page.locator(".voices").inner_text()


def test_what_was_decided_on_one_content_is_not_written_for_another(open_page, serve, tmp_path):
    queue = picture_queue(tmp_path)
    server = serve(queue)
    page = open_page(server.address, quietly=True)
    first, second, *rest = queue.samples
    turned = (replace(first, sha256=second.sha256), replace(second, sha256=first.sha256), *rest)
    server.desk = desk_of(replace(queue, samples=turned))
    _press(page, "s")
    page.wait_for_selector("#banner:not([hidden])")
    said = page.locator("#banner").inner_text()
    assert "Not taken: 000.png: What is called so now has another content." in said
    assert not _decisions(server)


def test_what_is_not_taken_can_be_forgotten(open_page, serve, tmp_path):
    server = serve(picture_queue(tmp_path))
    page = open_page(server.address, quietly=True)
    body = {"key": "k" * 8, "sample": "gone", "reviewer": "ann", "action": "skip", "labels": []}
    entry = json.dumps({"seq": 1, "at": "", "path": "decide", "body": body})
    name = f"regraft-review:{server.desk.opening()['id']}:{body['key']}"
    page.evaluate("([name, text]) => localStorage.setItem(name, text)", [name, entry])
    page.reload()
    page.get_by_role("button", name="Forget it").click()
    _until(page, "document.querySelector('#banner').hidden")
    assert page.evaluate("(name) => localStorage.getItem(name) === null", name)


def test_a_name_that_the_server_would_refuse_is_not_taken(open_page, serve, tmp_path):
    page = open_page(serve(picture_queue(tmp_path)).address)
    _press(page, "r")
    page.locator("#new-name").fill("a\u200db")
    _press(page, "Enter")
    said = page.evaluate("document.querySelector('#new-name').validationMessage")
    assert "can be printed" in said and page.locator("#reviewer").inner_text() == "ann"
    page.locator("#new-name").fill("Zo\u00eb B")
    _press(page, "Enter")
    assert page.locator("#reviewer").inner_text() == "Zo\u00eb B"


def test_from_the_command_line_to_the_journal_and_back(open_page, tmp_path):
    pytest.importorskip("cleanlab")
    pytest.importorskip("crowdkit")
    _two_colours(tmp_path / "photos")
    before = _bytes(tmp_path / "photos")
    regraft = Path(sys.executable).with_name("regraft")
    command = [str(regraft), "labels", "photos", "--review", "--reviewer", "ann"]
    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, text=True) as process:
        try:
            line = process.stdout.readline()
            page = open_page(re.fullmatch(r"Open (http://127\.0\.0\.1:\d+/\S+/)\n", line)[1])
            assert _sample(page) == "blue/copy.png"
            assert "The same content as red/0.png" in page.locator(".reason").inner_text()
            _press(page, "Enter")
            _saved(page)
            page.close()
        finally:
            process.terminate()
        assert process.wait(10) == 143
    (decision,) = Journal(tmp_path / "photos.decisions.jsonl").standing()
    assert (decision.action, decision.labels, decision.reviewer) == ("change", ("red",), "ann")
    assert _bytes(tmp_path / "photos") == before


def _two_colours(folder: Path) -> None:
    """Red and blue noise; a red one lies among the blue ones too."""
    rng = np.random.default_rng(0)
    for n in range(40):
        label, colour = (("red", (220, 40, 40)), ("blue", (40, 40, 220)))[n % 2]
        pixels = np.clip(np.array(colour) + rng.normal(0, 30, (48, 48, 3)), 0, 255)
        (folder / label).mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels.astype(np.uint8)).save(folder / label / f"{n}.png")
    shutil.copy(folder / "red" / "0.png", folder / "blue" / "copy.png")


def _bytes(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}
