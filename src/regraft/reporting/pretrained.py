"""The report of a pre-training: report.json, and a page drawn from it and from thumbnails."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from markupsafe import Markup, escape

from regraft import store
from regraft.reporting.figures import visible

_COLOURS = (
    "#4477aa", "#ee6677", "#228833", "#ccbb44", "#66ccee", "#aa3377", "#bbbbbb", "#000000",
    "#994455", "#997700",
)  # fmt: skip
_STYLE = Markup(
    "body{font:15px/1.5 system-ui,sans-serif;max-width:60em;margin:2em auto;padding:0 1em}"
    "svg{width:19em;margin-right:1em}td{padding:2px 6px}img{height:56px;margin:1px}"
    "figure{display:inline-block;margin:0}figcaption{color:#555}"
)
_CURVES = ("loss", "probe", "neighbours", "alignment", "uniformity", "effective_rank", "spread")


def write(folder: Path, report: Mapping[str, Any], thumbnails: Mapping[str, bytes]) -> None:
    """Commit report.json and report.html.

    Raises:
        StoreError: the disk is full.
    """
    text = json.dumps(report, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    store.commit(folder / "report.json", text.encode("utf-8", "backslashreplace"))
    store.commit(folder / "report.html", render(report, thumbnails).encode("utf-8"))


def render(report: Mapping[str, Any], thumbnails: Mapping[str, bytes]) -> str:
    """The page: verdict, curves, neighbours before and after, map. One file, no network."""
    curves = Markup("").join(
        _curve(name, [(p["step"], p[name]) for p in report["curves"] if p.get(name) is not None])
        for name in _CURVES
    )
    problems = Markup("").join(
        Markup("<li>{}: {} ({})</li>").format(visible(p["where"]), p["what"], p["done"])
        for p in report["data"]["problems"][:20]
    )
    body = Markup(
        "<!doctype html><html lang=en><meta charset=utf-8><title>Pre-training</title>"
        "<style>{}</style><h1>Pre-training: {}</h1><p><b>{}</b></p>{}"
        "<p>{} {} of {}; {} steps, {:.0f} s, {:,.0f} {}/s; {}.</p>"
        "<p>Start: {}, {} of {} stages frozen{}.</p>"
        "<h2>Curves</h2>{}{}{}<h2>What was found in the pool</h2><ul>{}</ul></html>"
    )
    back = report["backbone"]
    return body.format(
        _STYLE, report["objective"], report["verdict"]["text"], _comparisons(report),
        report["data"]["samples"], report["data"]["things"], visible(report["data"]["path"]),
        report["steps"], report["seconds"], report["throughput"]["per_second"],
        report["throughput"]["unit"], report["stopped"], visible(back["name"]),
        back["frozen_stages"], len(back["stages"]), _prepared(back["preprocessing"]), curves,
        _neighbours(report["neighbours"], thumbnails), _maps(report["map"]),
        problems or Markup("<li>Nothing.</li>"),
    )  # fmt: skip


def _comparisons(report: Mapping[str, Any]) -> Markup:
    found = [report[name]["text"] for name in ("control", "climbed") if report.get(name)]
    return Markup("").join(Markup("<p>{}</p>").format(text) for text in found)


def _prepared(preprocessing: Mapping[str, Any]) -> str:
    size_px = preprocessing.get("size_px")
    return f", tiles of {size_px} px" if size_px else ""


def _curve(name: str, points: Sequence[tuple[float, float]]) -> Markup:
    if len(points) < 2:
        return Markup("")
    xs, ys = [x for x, _ in points], [y for _, y in points]
    low, high = min(ys), max(ys)
    line = " ".join(
        f"{10 + 280 * (x - xs[0]) / max(xs[-1] - xs[0], 1e-9):.1f},"
        f"{110 - 100 * (y - low) / max(high - low, 1e-9):.1f}"
        for x, y in points
    )
    return Markup(
        "<figure><svg viewBox='0 0 300 120' role=img><polyline fill=none stroke='#4477aa' "
        "stroke-width=2 points='{}'/></svg><figcaption>{}: {:.3f} to {:.3f}, last {:.3f}"
        "</figcaption></figure>"
    ).format(line, name.replace("_", " "), low, high, ys[-1])


def _neighbours(rows: Sequence[Mapping[str, Any]], thumbnails: Mapping[str, bytes]) -> Markup:
    if not rows:
        return Markup("")

    def shown(names: Sequence[str]) -> Markup:
        return Markup("").join(
            Markup("<img alt='{}' src='data:image/jpeg;base64,{}'>").format(
                visible(name), base64.b64encode(thumbnails[name]).decode()
            )
            for name in names
            if name in thumbnails
        )

    lines = Markup("").join(
        Markup("<tr><td>{}<td>{}<td>{}</tr>").format(
            shown([row["sample"]]), shown(row["before"]), shown(row["after"])
        )
        for row in rows
    )
    return (
        Markup("<h2>Nearest labelled pictures</h2><table><tr><th>of<th>before<th>after</tr>")
        + lines
        + Markup("</table>")
    )


def _maps(found: Mapping[str, Any] | None) -> Markup:
    if not found:
        return Markup("")
    maps = Markup("").join(_map(name, found[name], found["labels"]) for name in ("before", "after"))
    legend = Markup(" ").join(
        Markup("<span style='color:{}'>&#9679; {}</span>").format(
            _COLOURS[i % len(_COLOURS)], escape(visible(name))
        )
        for i, name in enumerate(found["classes"])
    )
    return Markup("<h2>Embeddings on two principal axes</h2>") + maps + legend


def _map(name: str, places: Sequence[Sequence[float]], labels: Sequence[int]) -> Markup:
    reach = max((abs(value) for place in places for value in place), default=1.0) or 1.0
    dots = Markup("").join(
        Markup("<circle r=2 cx='{:.1f}' cy='{:.1f}' fill='{}'/>").format(
            150 + 140 * place[0] / reach, 150 - 140 * place[-1] / reach, _COLOURS[label % 10]
        )
        for place, label in zip(places, labels, strict=True)
    )
    return Markup(
        "<figure><svg viewBox='0 0 300 300'>{}</svg><figcaption>{}</figcaption></figure>"
    ).format(dots, name)
