"""Who is answered and who is refused: each request as raw bytes, over a real connection."""

from __future__ import annotations

import json
import re
import socket
import threading
from dataclasses import dataclass

import pytest
from desks import ask, desk_of, picture_queue

from regraft.errors import StoreError
from regraft.labelling.journal import Journal
from regraft.labelling.review import server as serving
from regraft.labelling.review.server import ReviewServer

TOKEN = "aXb2" * 8
BODY = json.dumps(
    {"key": "k" * 8, "sample": "001.png", "reviewer": "ann", "action": "keep", "labels": []}
)


@dataclass(frozen=True)
class Served:
    server: ReviewServer
    journal: Journal

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self.server.server_port}"

    def raw(self, request: bytes) -> bytes:
        """Everything that comes back until the server closes."""
        with socket.create_connection(("127.0.0.1", self.server.server_port), timeout=10) as link:
            link.sendall(request)
            pieces = []
            while piece := link.recv(65_536):
                pieces.append(piece)
            return b"".join(pieces)


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    desk = desk_of(picture_queue(tmp_path_factory.mktemp("served")))
    server = ReviewServer(desk, 0, TOKEN)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    yield Served(server, desk.journal)
    server.shutdown()
    server.server_close()
    thread.join()


def _request(line: str, *headers: str, body: str | bytes = b"", host: str | None = "HOST") -> bytes:
    """HOST in a header stands for the server's own; T in the line for the token."""
    data = body.encode() if isinstance(body, str) else body
    lines = [line, *([f"Host: {host}"] if host is not None else []), *headers, "Connection: close"]
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + data


def _get(path: str, *headers: str, host: str | None = "HOST") -> bytes:
    return _request(f"GET {path} HTTP/1.1", *headers, host=host)


_USUAL = {"type": "Content-Type: application/json", "origin": "Origin: http://HOST"}


def _post(path: str = "/T/decide", *more: str, body: str | bytes = BODY, **headers: str) -> bytes:
    lines = {**_USUAL, "length": f"Content-Length: {len(body)}", **headers}
    return _request(f"POST {path} HTTP/1.1", *filter(None, lines.values()), *more, body=body)


REFUSED = {
    # by whatever name or page
    "another host": (403, _get("/T/", host="evil.example")),
    "another host at this port": (403, _get("/T/", host="evil.example:PORT")),
    "a host that begins like ours": (403, _get("/T/", host="127.0.0.1:PORT.evil.example")),
    "our host without its port": (403, _get("/T/", host="127.0.0.1")),
    "our host with another port": (403, _get("/T/", host="127.0.0.1:1")),
    "all of the loopback network": (403, _get("/T/", host="127.0.0.2:PORT")),
    "every interface": (403, _get("/T/", host="0.0.0.0:PORT")),
    "no host": (403, _get("/T/", host=None)),
    "an empty host": (403, _get("/T/", host="")),
    "two hosts": (403, _get("/T/", "Host: evil.example")),
    "a host with a user": (403, _get("/T/", host="me@127.0.0.1:PORT")),
    "another host in the target": (403, _get("http://evil.example/T/")),
    "our host in the target": (403, _get("http://HOST/T/")),
    "another origin reads": (403, _get("/T/queue", "Origin: http://evil.example")),
    "no origin at all, as of a sandbox": (403, _get("/T/queue", "Origin: null")),
    "our origin over TLS": (403, _get("/T/queue", "Origin: https://HOST")),
    "our machine from another port": (403, _get("/T/queue", "Origin: http://127.0.0.1:1")),
    "our origin and another": (
        403,
        _get("/T/queue", "Origin: http://HOST", "Origin: http://evil.example"),
    ),
    "another site": (403, _get("/T/queue", "Sec-Fetch-Site: cross-site")),
    "a site beside ours": (403, _get("/T/picture/0", "Sec-Fetch-Site: same-site")),
    "another origin writes": (403, _post(origin="Origin: http://evil.example")),
    "writing without an origin": (403, _post(origin="")),
    "a preflight of another page": (
        403,
        _request("OPTIONS /T/decide HTTP/1.1", "Origin: http://evil.example"),
    ),
    # without the token
    "no token": (403, _get("/")),
    "no token for the queue": (403, _get("/queue")),
    "no token for a script": (403, _get("/page.js")),
    "no token for an icon": (403, _get("/favicon.ico")),
    "no token, writing": (403, _post("/decide")),
    "half a token": (403, _get(f"/{TOKEN[:16]}/")),
    "a token in other letters": (403, _get(f"/{TOKEN.lower()}/")),
    "a token and more": (403, _get(f"/{TOKEN}x/")),
    "a token without its end": (403, _get(f"/{TOKEN}")),
    "a token in the question": (403, _get(f"/?token={TOKEN}")),
    "a token as a header": (403, _get("/queue", f"Authorization: Bearer {TOKEN}")),
    "a token as a cookie": (403, _get("/queue", f"Cookie: token={TOKEN}")),
    "an encoded token": (403, _get(f"/%61{TOKEN[1:]}/")),
    "a token behind dots": (403, _get(f"/x/../{TOKEN}/")),
    "a token behind two slashes": (403, _get(f"//{TOKEN}/queue")),
    "an unknown method without the token": (403, _request("DELETE / HTTP/1.1")),
    # paths
    "up": (404, _get("/T/../page.js")),
    "up and out": (404, _get("/T/../../../../etc/passwd")),
    "up, encoded": (404, _get("/T/%2e%2e/%2e%2e/etc/passwd")),
    "up, encoded twice": (404, _get("/T/%252e%252e%252fetc%252fpasswd")),
    "up, too long for UTF-8": (404, _get("/T/%c0%ae%c0%ae/etc/passwd")),
    "up with backslashes": (404, _get("/T/..\\..\\etc\\passwd")),
    "a file of the package": (404, _get("/T/server.py")),
    "a file by its whole name": (404, _get("/T//etc/passwd")),
    "a file's address": (404, _get("/T/file:///etc/passwd")),
    "a picture by name": (404, _get("/T/picture/001.png")),
    "a picture by path": (404, _get("/T/picture/../../001.png")),
    "a picture before the first": (404, _get("/T/picture/-1")),
    "a picture after the last": (404, _get("/T/picture/999999999")),
    "a number too long": (404, _get("/T/picture/" + "9" * 5000)),
    "a number with a sign": (404, _get("/T/picture/+1")),
    "a number with a nought before": (404, _get("/T/picture/01")),
    "a number in other digits": (404, _get("/T/picture/\xb2")),
    "a number with an end": (404, _get("/T/picture/1%00.png")),
    "a number with a question": (404, _get("/T/picture/1?x=1")),
    "a page with a fragment": (404, _get("/T/#x")),
    "a text that is a picture": (404, _get("/T/text/0")),
    "another letter case": (404, _get("/T/QUEUE")),
    # methods
    "reading where one writes": (405, _get("/T/decide")),
    "writing where one reads": (405, _post("/T/queue")),
    "putting": (405, _request("PUT /T/decide HTTP/1.1", "Content-Length: 0")),
    "deleting": (405, _request("DELETE /T/queue HTTP/1.1")),
    "tracing": (405, _request("TRACE /T/ HTTP/1.1")),
    "asking for options": (405, _request("OPTIONS /T/decide HTTP/1.1")),
    "asking for the head": (405, _request("HEAD /T/ HTTP/1.1")),
    "a method in small letters": (405, _request("get /T/ HTTP/1.1")),
    "a tunnel": (403, _request("CONNECT evil.example:443 HTTP/1.1")),
    # bodies
    "reading with a body": (
        400,
        _request("GET /T/queue HTTP/1.1", "Content-Length: 2", body="{}"),
    ),
    "a form": (415, _post(type="Content-Type: application/x-www-form-urlencoded")),
    "plain text": (415, _post(type="Content-Type: text/plain")),
    "no type": (415, _post(type="")),
    "two types": (415, _post("/T/decide", "Content-Type: text/plain")),
    "another character set": (415, _post(type="Content-Type: application/json; charset=utf-7")),
    "no length": (411, _post(length="")),
    "pieces": (400, _post(length="Transfer-Encoding: chunked", body="0\r\n\r\n")),
    "pieces and a length": (400, _post("/T/decide", "Transfer-Encoding: chunked")),
    "packed": (400, _post("/T/decide", "Content-Encoding: gzip")),
    "two lengths": (400, _post("/T/decide", "Content-Length: 3")),
    "a negative length": (400, _post(length="Content-Length: -1")),
    "a length with a sign": (400, _post(length=f"Content-Length: +{len(BODY)}")),
    "a length that is no number": (400, _post(length="Content-Length: ten")),
    "a huge length": (413, _post(length="Content-Length: 99999999999")),
    "too much": (413, _post(body=b" " * 20_000)),
    "nothing": (400, _post(body="")),
    "no JSON": (400, _post(body="{'key'}")),
    "a list": (400, _post(body="[]")),
    "a depth of lists": (400, _post(body="[" * 8000)),
    "UTF-16": (400, _post(body=BODY.encode("utf-16"))),
    "no UTF-8": (400, _post(body=BODY.encode().replace(b"ann", b"\xff\xfe\xfd"))),
    "fields missing": (400, _post(body="{}")),
    "fields too many": (400, _post(body=BODY.replace("{", '{"more": 1, '))),
    "an unknown class": (
        400,
        _post(body=BODY.replace('"keep"', '"change"').replace("[]", '["wolf"]')),
    ),
    "a path for a sample": (404, _post(body=BODY.replace("001.png", "../../etc/passwd"))),
    # what is no HTTP
    "no version": (400, b"GET /T/ HTTP/x\r\nHost: HOST\r\n\r\n"),
    "version 2": (505, b"GET /T/ HTTP/2.0\r\nHost: HOST\r\n\r\n"),
    "a line too long": (414, b"GET /" + b"a" * 70_000 + b" HTTP/1.1\r\n\r\n"),
    "too many headers": (431, _get("/T/", *(f"X-{n}: 1" for n in range(200)))),
    "TLS": (400, b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 \r\n\r\n"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_refused(served, name):
    status, request = REFUSED[name]
    port = str(served.server.server_port).encode()
    request = request.replace(b" /T/", b" /%b/" % TOKEN.encode())
    request = request.replace(b"HOST/T/", b"HOST/%b/" % TOKEN.encode())
    request = request.replace(b"HOST", b"127.0.0.1:" + port).replace(b":PORT", b":" + port)
    reply = served.raw(request)
    assert reply.startswith(b"HTTP/1.1 %d " % status), reply[:200]
    head, _, body = reply.partition(b"\r\n\r\n")
    assert b"Access-Control" not in head and b"Content-Security-Policy: default-src 'none'" in head
    assert TOKEN.encode() not in reply and b"root:" not in body and b"alert" not in body
    assert not served.journal.path.exists()


def test_version_09_gets_nothing(served):
    reply = served.raw(b"GET /%b/queue\r\n\r\n" % TOKEN.encode())
    assert b"items" not in reply


def test_a_body_that_ends_early_is_no_decision(served):
    request = _post(length=f"Content-Length: {len(BODY) + 9}").replace(
        b"/T/", b"/%b/" % TOKEN.encode()
    )
    request = request.replace(b"HOST", served.host.encode())
    with socket.create_connection(("127.0.0.1", served.server.server_port), timeout=10) as link:
        link.sendall(request)
        link.shutdown(socket.SHUT_WR)
        assert link.recv(65_536).startswith(b"HTTP/1.1 400 ")
    assert not served.journal.path.exists()


@pytest.mark.parametrize(
    "path",
    ["", "page.css", "page.js", "icon.svg", "queue", "events/0", "picture/0", "small/5"],
)
def test_what_is_answered(served, path):
    reply = ask(served.server.address, path, Sec_Fetch_Site="same-origin")
    assert reply.status == 200 and reply.data
    assert reply.headers["Cache-Control"] == "no-store"
    assert reply.headers["X-Content-Type-Options"] == "nosniff"
    assert reply.headers["Referrer-Policy"] == "no-referrer"
    assert "unsafe" not in reply.headers["Content-Security-Policy"]
    assert "Python" not in str(reply.headers)


def test_the_page_names_no_other_host_and_nothing_inline(served):
    for path in ("", "page.css", "page.js"):
        text = ask(served.server.address, path).data.decode()
        assert not re.search(r"\w:?//\w|url\(|@import|innerHTML| style=| on\w+=", text)


def test_only_this_machine_is_listened_to(served):
    assert served.server.server_address[0] == "127.0.0.1"


def test_a_full_disk_is_said_and_the_decision_can_be_sent_again(tmp_path, monkeypatch):
    desk = desk_of(picture_queue(tmp_path))
    server = ReviewServer(desk, 0, TOKEN)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        with monkeypatch.context() as patch:

            def full(*_: object) -> None:
                raise StoreError("The disk is full.", mend="make room")

            patch.setattr("regraft.labelling.journal.append_line", full)
            reply = ask(server.address, "decide", json.loads(BODY))
            assert (reply.status, reply.value["error"]) == (
                507,
                "The disk is full. To mend it: make room.",
            )
        assert ask(server.address, "decide", json.loads(BODY)).value == {"written": True}
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
    assert len(desk.journal.standing()) == 1


def test_more_connections_than_there_is_room_for_do_not_stop_it(served, monkeypatch):
    idle = [socket.create_connection(("127.0.0.1", served.server.server_port)) for _ in range(40)]
    try:
        for link in idle:
            link.settimeout(2)
        for link in idle[serving._AT_ONCE :]:
            assert link.recv(1) == b""
    finally:
        for link in idle:
            link.close()
    for _ in range(100):
        try:
            assert ask(served.server.address, "events/0").status == 200
            break
        except (ConnectionError, OSError):
            threading.Event().wait(0.05)
    else:
        pytest.fail("it does not answer any more")
