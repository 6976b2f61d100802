"""The review over HTTP: for browsers on this machine that know this start's token, and no others.

Decisions:

- Python's own http.server carries it. One person at a time clicks a few times a minute, so speed is
  no reason for a framework, and everything that may pass can be listed here.
- The token is the first part of every path, so that pictures and scripts need no cookie (which
  every server on this machine would be sent). It is new with every start, and answers tell browsers
  to keep neither it nor the pictures.
- What is asked has to match one of a few patterns of plain ASCII, to the letter. No path is ever
  decoded, normalised or turned into a file's name: samples are asked for by number.
- The host name has to be this server's (so that a name that was pointed at this machine gets
  nothing), and where a browser says from which page it asks, it has to be ours. Writing requires
  that it says so.
- Who does not know the token is not told what there is.
"""

from __future__ import annotations

import contextlib
import hmac
import json
import re
import socket
import socketserver
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.resources import files
from typing import Any, final

from regraft.errors import RegraftError, StoreError, UnreadableSample
from regraft.labelling.review.desk import Desk, NotThere, Unfit

HOST = "127.0.0.1"
MOST_BYTES = 16 * 1024
"""In the body of a request."""
_AT_ONCE = 32
_PATIENCE_S = 20.0
_ORIGIN = "same-origin"

_HEADERS = {
    "Content-Security-Policy": "; ".join(
        [
            "default-src 'none'",
            "script-src 'self'",
            "style-src 'self'",
            "img-src 'self'",
            "connect-src 'self'",
            "base-uri 'none'",
            "form-action 'none'",
            "frame-ancestors 'none'",
            "require-trusted-types-for 'script'",
            "trusted-types 'none'",
        ]
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": _ORIGIN,
    "Cross-Origin-Opener-Policy": _ORIGIN,
    "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
    "Cache-Control": "no-store",
}
_PAGES = {
    "": ("page.html", "text/html; charset=utf-8"),
    "page.css": ("page.css", "text/css; charset=utf-8"),
    "page.js": ("page.js", "text/javascript; charset=utf-8"),
    "icon.svg": ("icon.svg", "image/svg+xml"),
}
_NUMBERED = re.compile(r"(events|picture|small|text)/(0|[1-9][0-9]{0,8})", re.ASCII)


@dataclass(frozen=True)
class Reply:
    """What is answered.

    Attributes:
        status: of HTTP.
        body: bytes.
        kind: their media type.
        allow: the method that would do, if the one used does not.
    """

    status: HTTPStatus
    body: bytes
    kind: str = "application/json"
    allow: str = ""


def _json(value: object) -> Reply:
    return Reply(HTTPStatus.OK, json.dumps(value).encode())


def _refusal(status: HTTPStatus, why: str, allow: str = "") -> Reply:
    return Reply(status, json.dumps({"error": why}).encode(), allow=allow)


@final
class ReviewServer(ThreadingHTTPServer):
    """Serves a desk on the loopback interface until it is closed.

    Args:
        desk: what is reviewed.
        port: 0 takes any that is free.
        token: what paths begin with.

    Raises:
        OSError: the port is taken.
    """

    daemon_threads = True
    request_queue_size = 64

    def __init__(self, desk: Desk, port: int, token: str) -> None:
        self.desk = desk
        self.token = token
        self._room = threading.BoundedSemaphore(_AT_ONCE)
        super().__init__((HOST, port), _Handler)

    @property
    def address(self) -> str:
        """What to open in a browser."""
        return f"http://{HOST}:{self.server_port}/{self.token}/"

    @property
    def hosts(self) -> tuple[str, str]:
        """What this server is called."""
        return f"{HOST}:{self.server_port}", f"localhost:{self.server_port}"

    def server_bind(self) -> None:
        """Bind without asking anybody what this machine is called."""
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = HOST, int(self.server_address[1])

    def process_request(self, request: Any, client_address: Any) -> None:
        """Answer in a thread, if there are not too many already."""
        if self._room.acquire(blocking=False):
            super().process_request(request, client_address)
        else:
            self.shutdown_request(request)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Answer, then make room for others."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._room.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A browser that went away in the middle is nothing to talk about."""


@final
class _Handler(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    server_version = "regraft"
    sys_version = ""
    timeout = _PATIENCE_S

    def do_GET(self) -> None:
        """Read something."""
        self._answer("GET")

    def do_POST(self) -> None:
        """Write something."""
        self._answer("POST")

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """What http.server itself refuses; methods it has no `do_…` for among it."""
        if code == HTTPStatus.NOT_IMPLEMENTED:
            refused = self._strange() or _refusal(
                HTTPStatus.METHOD_NOT_ALLOWED, "Only GET and POST are known here.", "GET, POST"
            )
        else:
            refused = _refusal(HTTPStatus(code), "This is no request that is understood here.")
        self._send(refused, last=True)

    def log_message(self, format: str, *args: object) -> None:
        """Nothing: paths hold the token."""

    @property
    def _review(self) -> ReviewServer:
        assert isinstance(self.server, ReviewServer)
        return self.server

    def _answer(self, method: str) -> None:
        refused = self._strange() or self._misplaced(method)
        if refused is not None:
            self._send(refused, last=True)
            return
        path = self._path()
        assert path is not None
        if method == "GET":
            self._send(_explained(lambda: _read(self._review.desk, path)))
            return
        body = self._body()
        if isinstance(body, Reply):
            self._send(body, last=True)
        else:
            asked = body
            self._send(_explained(lambda: _write(self._review.desk, path, asked)))

    def _strange(self) -> Reply | None:
        """What speaks against whoever asks."""
        names = self.headers.get_all("Host", [])
        if len(names) != 1 or names[0] not in self._review.hosts:
            return _refusal(HTTPStatus.FORBIDDEN, "This server is not known by that name.")
        origins = self.headers.get_all("Origin", [])
        ours = [f"http://{host}" for host in self._review.hosts]
        if any(origin not in ours for origin in origins):
            return _refusal(HTTPStatus.FORBIDDEN, "Only the review page itself may ask.")
        sites = self.headers.get_all("Sec-Fetch-Site", [])
        if any(site not in (_ORIGIN, "none") for site in sites):
            return _refusal(HTTPStatus.FORBIDDEN, "Only the review page itself may ask.")
        if self._path() is None:
            return _refusal(
                HTTPStatus.FORBIDDEN, "The address needs the token that this start printed."
            )
        return None

    def _path(self) -> str | None:
        """What comes after the token, exactly as it was sent; None without the token."""
        target = self.requestline.split()[1]
        first, slash, rest = target.removeprefix("/").partition("/")
        is_ours = hmac.compare_digest(first.encode(), self._review.token.encode())
        return rest if target.startswith("/") and slash and is_ours else None

    def _misplaced(self, method: str) -> Reply | None:
        """What speaks against the place and the way it is asked for."""
        path = self._path()
        assert path is not None
        wanted = _method(path)
        if wanted is None:
            return _refusal(HTTPStatus.NOT_FOUND, "There is nothing here.")
        if method != wanted:
            why = f"This is for {wanted}."
            return _refusal(HTTPStatus.METHOD_NOT_ALLOWED, why, wanted)
        if method == "GET" and ("Content-Length" in self.headers or self._is_coded):
            return _refusal(HTTPStatus.BAD_REQUEST, "A question has no body.")
        if method == "POST" and not self.headers.get_all("Origin"):
            return _refusal(HTTPStatus.FORBIDDEN, "A page that decides says where it is from.")
        return None

    @property
    def _is_coded(self) -> bool:
        return "Transfer-Encoding" in self.headers or "Content-Encoding" in self.headers

    def _body(self) -> dict[str, Any] | Reply:
        """The JSON object that was sent, or why it is not taken."""
        kinds = self.headers.get_all("Content-Type", [])
        if [kind.lower().replace(" ", "") for kind in kinds] not in (
            ["application/json"],
            ["application/json;charset=utf-8"],
        ):
            return _refusal(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "Send application/json.")
        if self._is_coded:
            return _refusal(HTTPStatus.BAD_REQUEST, "Send the body plainly, with its length.")
        lengths = self.headers.get_all("Content-Length", [])
        if not lengths:
            return _refusal(HTTPStatus.LENGTH_REQUIRED, "Say how long the body is.")
        if len(lengths) > 1 or not re.fullmatch(r"[0-9]{1,15}", lengths[0], re.ASCII):
            return _refusal(HTTPStatus.BAD_REQUEST, "The length is no number.")
        if int(lengths[0]) > MOST_BYTES:
            return _refusal(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "That is too much.")
        try:
            data = self.rfile.read(int(lengths[0]))
        except OSError:  # the time is up
            return _refusal(HTTPStatus.REQUEST_TIMEOUT, "The body did not arrive.")
        return _object(data, int(lengths[0]))

    def _send(self, reply: Reply, *, last: bool = False) -> None:
        """Answer; the last one of a connection leaves unread what else was sent."""
        self.close_connection = self.close_connection or last
        self.request_version = self.protocol_version  # or what came as no HTTP gets no headers
        self.send_response_only(reply.status)
        for name, value in _HEADERS.items():
            self.send_header(name, value)
        self.send_header("Content-Type", reply.kind)
        self.send_header("Content-Length", str(len(reply.body)))
        if reply.allow:
            self.send_header("Allow", reply.allow)
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        with contextlib.suppress(OSError):
            if self.command != "HEAD":
                self.wfile.write(reply.body)
            if last:
                self._drain()

    def _drain(self) -> None:
        """Take in some of what is left, or the reply is lost with the connection."""
        self.connection.shutdown(socket.SHUT_WR)
        self.connection.settimeout(0.2)
        for _ in range(16):
            if not self.connection.recv(65_536):
                break


# What there is ------------------------------------------------------------------------------------


def _method(path: str) -> str | None:
    """How a place is asked for; None where there is none."""
    if path in ("decide", "undo"):
        return "POST"
    return "GET" if path in _PAGES or path == "queue" or _NUMBERED.fullmatch(path) else None


def _read(desk: Desk, path: str) -> Reply:
    if path in _PAGES:
        name, kind = _PAGES[path]
        return Reply(HTTPStatus.OK, _page(name), kind)
    if path == "queue":
        return _json(desk.opening())
    place, _, digits = path.partition("/")
    number = int(digits)
    if place == "events":
        return _json(desk.events(number))
    if place == "text":
        return _json(desk.text(number))
    picture = desk.picture(number, small=place == "small")
    return Reply(HTTPStatus.OK, picture.data, picture.kind)


def _write(desk: Desk, path: str, asked: Mapping[str, Any]) -> Reply:
    return _json(desk.decide(asked) if path == "decide" else desk.undo(asked))


def _explained(act: Callable[[], Reply]) -> Reply:
    """What an act gives, or what is wrong with what it was asked."""
    try:
        return act()
    except Unfit as fault:
        return _refusal(HTTPStatus.BAD_REQUEST, str(fault))
    except NotThere as fault:
        return _refusal(HTTPStatus.NOT_FOUND, str(fault))
    except UnreadableSample as fault:
        return _refusal(HTTPStatus.GONE, _said(fault))
    except StoreError as fault:
        return _refusal(HTTPStatus.INSUFFICIENT_STORAGE, _said(fault))


def _said(fault: RegraftError) -> str:
    return f"{fault.what} To mend it: {fault.mend}." if fault.mend else fault.what


def _object(data: bytes, length: int) -> dict[str, Any] | Reply:
    try:
        value: Any = json.loads(data.decode("utf-8")) if len(data) == length else None
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        return _refusal(HTTPStatus.BAD_REQUEST, "The body is no JSON object in UTF-8.")
    return value


def _page(name: str) -> bytes:
    return (files("regraft.labelling.review") / name).read_bytes()
