"""Tables on pages in a real browser. Skipped where there is no Chromium."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from test_detection import as_report, made
from test_labels_page import _found

from regraft.reporting import detection, labels_page, page
from regraft.tasks.boxes import BoxTargets

CHROMIUM = Path("/usr/bin/chromium")
playwright = pytest.importorskip("playwright.sync_api")
pytestmark = pytest.mark.skipif(not CHROMIUM.exists(), reason="there is no Chromium")

NAMES = [f"A warbler of the great northern forests, number {n}" for n in range(30)]
_CUT_OFF = """() => [...document.querySelectorAll(".scroll")]
    .filter((table) => table.scrollWidth > table.clientWidth)
    .map((table) => table.getAttribute("aria-label"))"""


def _boxes(folder: Path) -> str:
    rows, answers = made(folder)
    valid = rows.split("valid")
    targets = BoxTargets.from_samples(valid)
    found = detection.section(
        detection.Judged(rows, valid, "valid", answers, targets, 0.5, np.ones((3, len(valid))))
    )
    ends: dict[str, Any] = {"intervals": {name: [0.1, 0.9] for name in ("ap", "ap50", "ar")}}
    first = found["coco"]["categories"][0]
    categories = [{**first, **ends, "name": name} for name in NAMES]
    sizes = {name: size | ends for name, size in found["coco"]["sizes"].items()}
    found["coco"] |= {"categories": categories, "sizes": sizes, **ends}
    return page.render(as_report(found), {})


def _labels(_: Path) -> str:
    found = _found()
    alpha = found["agreement"]["alpha"]
    rows = [{"class": name, "share": 0.1, "alpha": alpha} for name in NAMES]
    return labels_page.render(
        found | {"agreement": found["agreement"] | {"classes": rows, "pairs": []}}, {}
    )


@pytest.mark.parametrize("made_page", [_boxes, _labels])
def test_no_column_of_a_table_is_cut_off_on_a_usual_screen(tmp_path: Path, made_page: Any) -> None:
    path = tmp_path / "report.html"
    path.write_text(made_page(tmp_path), encoding="utf-8")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=str(CHROMIUM), args=["--no-sandbox"])
        shown = browser.new_page(viewport={"width": 1280, "height": 900})
        shown.goto(path.as_uri())
        assert shown.evaluate(_CUT_OFF) == []
        assert shown.evaluate("document.documentElement.scrollWidth") == 1280
        browser.close()
