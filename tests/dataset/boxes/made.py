"""Box data that tests make: the same small set in each format."""

from __future__ import annotations

import json
from pathlib import Path

from PIL import Image

WIDTH_PX, HEIGHT_PX = 40, 30
HEAD = "path,left,top,right,bottom,category"


def picture(path: Path, size: tuple[int, int] = (WIDTH_PX, HEIGHT_PX), level: int = 90) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, (level, 120, 60)).save(path)
    return path


def coco(folder: Path, annotations: list, images=None, categories=None) -> Path:
    picture(folder / "a.png")
    content = {
        "images": images or [{"id": 1, "file_name": "a.png", "width": 40, "height": 30}],
        "annotations": annotations,
        "categories": categories or [{"id": 7, "name": "tree"}, {"id": 9, "name": "car"}],
    }
    (folder / "boxes.json").write_text(json.dumps(content))
    return folder / "boxes.json"


def task(*results: dict, picture: str = "a.png", **more) -> dict:
    """What one person drew on a picture, as Label Studio exports it."""
    data = {"image": f"/data/local-files/?d=some/where/{picture}"}
    return {"data": data, "annotations": [{"result": list(results), **more}]}


def rectangle(x=2.5, y=10, width=25, height=30, name="tree", rotation=0.0, **more) -> dict:
    value = {"x": x, "y": y, "width": width, "height": height, "rotation": rotation}
    value["rectanglelabels"] = [name]
    size = {"original_width": WIDTH_PX, "original_height": HEIGHT_PX}
    return {"type": "rectanglelabels", "value": value, **size, **more}


def label_studio(folder: Path, tasks: list[dict]) -> Path:
    for name in ("a.png", "b.png"):
        picture(folder / "where" / name)
    (folder / "export.json").write_text(json.dumps(tasks))
    return folder / "export.json"


def row(bbox=(1, 2, 10, 10), id_=1, **more) -> dict:
    return {"id": id_, "image_id": 1, "category_id": 7, "bbox": list(bbox), **more}


def yolo(folder: Path, lines: list[str], data: str = "") -> Path:
    """One picture, images/a.png, with these lines."""
    picture(folder / "images" / "a.png")
    (folder / "labels").mkdir(exist_ok=True)
    (folder / "labels" / "a.txt").write_text("\n".join(lines))
    (folder / "data.yaml").write_text(
        data or "train: images\nval: images\nnames:\n  0: tree\n  1: car\n"
    )
    return folder


def thing(xmin=2, ymin=3, xmax=11, ymax=12, name="tree", extra="") -> str:
    box = f"<bndbox><xmin>{xmin}</xmin><ymin>{ymin}</ymin><xmax>{xmax}</xmax><ymax>{ymax}</ymax>"
    return f"<object><name>{name}</name>{extra}{box}</bndbox></object>"


def voc(folder: Path, things: list[str], size=(40, 30), filename="a.png") -> Path:
    """One picture with these objects; the first stands in line 4."""
    picture(folder / "JPEGImages" / "a.png")
    wide, high = size
    lines = [
        "<annotation>",
        f"<filename>{filename}</filename>",
        f"<size><width>{wide}</width><height>{high}</height></size>",
        *things,
        "</annotation>",
    ]
    (folder / "Annotations").mkdir(exist_ok=True)
    (folder / "Annotations" / "a.xml").write_text("\n".join(lines))
    return folder


def table(
    folder: Path, lines: list[str], head: str = "path,left,top,right,bottom,category"
) -> Path:
    picture(folder / "a.png")
    (folder / "boxes.csv").write_text("\n".join([head, *lines]))
    return folder / "boxes.csv"
