"""A small review, and a process that serves it until it is killed."""

from __future__ import annotations

import http.client
import json
import secrets
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
from PIL import Image

from regraft.dataset import Dataset, Sample
from regraft.labelling.journal import Journal, journal_of
from regraft.labelling.review.desk import Desk
from regraft.labelling.review.items import Item, Queue
from regraft.labelling.review.server import ReviewServer
from regraft.store import file_sha256

EVIL = "<script>document.title='had'</script>"
CLASSES = (EVIL, "cat", "dog")


def picture_queue(folder: Path, count: int = 6, classes: tuple[str, ...] = CLASSES) -> Queue:
    """Photos of classes in turn, all of them suspected to be of the next class."""
    photos = folder / "photos"
    photos.mkdir(exist_ok=True)
    samples: list[Sample] = []
    for n in range(count):
        path = photos / f"{n:03d}.png"
        if not path.exists():
            pixels = np.full((24, 32, 3), (40 * n % 256, 120, 200), dtype=np.uint8)
            Image.fromarray(pixels).save(path)
        target = n % len(classes)
        samples.append(Sample(path.name, path, target, file_sha256(path), size=(24, 32)))
    data = Dataset(photos, "image-classification", classes, tuple(samples))
    items = tuple(_suspect(data, n) for n in range(count))
    rows = tuple(tuple(range(c, count, len(classes))) for c in range(len(classes)))
    return Queue(data, tuple(samples), items, rows, (photos.resolve(),))


def _suspect(data: Dataset, n: int) -> Item:
    names = data.classes
    given, other = names[n % len(names)], names[(n + 1) % len(names)]
    chances = ((other, 0.9), (given, 0.1))
    return Item(n, "error", (given,), (other,), 1 - n / 100, f"It looks like {other}.", chances)


def text_queue(folder: Path, texts: list[str], *, multilabel: bool = False) -> Queue:
    """Texts, the first half of them unlabelled and to label next."""
    half = len(texts) // 2
    samples = tuple(
        Sample(f"line {n + 2}", text, None if n < half else ((1,) if multilabel else 1))
        for n, text in enumerate(texts)
    )
    data = Dataset(folder / "mails.csv", "text-classification", CLASSES, samples, (), multilabel)
    items = tuple(
        Item(n, "next", None, ("dog",), None, "Far from what is labelled.")
        if n < half
        else Item(n, "error", ("cat",), ("cat", "dog") if multilabel else ("dog",), 0.9, "Odd.")
        for n in range(len(texts))
    )
    return Queue(data, samples, items, ((), (), ()), (folder.resolve(),))


def desk_of(queue: Queue, reviewer: str = "ann") -> Desk:
    return Desk(queue, Journal(journal_of(queue.dataset.path)), reviewer)


def serve_pictures(folder: str, port: int, told: Connection) -> None:
    """What the process to be killed does: tell the address, then answer for ever."""
    server = ReviewServer(desk_of(picture_queue(Path(folder))), port, secrets.token_urlsafe(24))
    told.send(server.address)
    server.serve_forever(poll_interval=0.05)


@dataclass(frozen=True)
class Answer:
    status: int
    headers: dict[str, str]
    data: bytes

    @property
    def value(self):
        return json.loads(self.data)


def ask(address: str, path: str, body: object = None, **headers: str) -> Answer:
    """One request as the page makes it; headers by name with _ for -."""
    place = urlsplit(address)
    connection = http.client.HTTPConnection(place.hostname, place.port, timeout=10)
    given = {name.replace("_", "-"): value for name, value in headers.items()}
    try:
        if body is None:
            connection.request("GET", place.path + path, headers=given)
        else:
            usual = {"Content-Type": "application/json", "Origin": f"http://{place.netloc}"}
            data = body if isinstance(body, bytes) else json.dumps(body).encode()
            connection.request("POST", place.path + path, data, {**usual, **given})
        reply = connection.getresponse()
        return Answer(reply.status, dict(reply.getheaders()), reply.read())
    finally:
        connection.close()
