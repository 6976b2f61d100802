"""From data to a review that a browser can be sent to."""

from __future__ import annotations

import getpass
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import final

from regraft.errors import DataError, Interrupted, UsageError
from regraft.events import Said, Tell, silent
from regraft.labelling.journal import Journal, journal_of
from regraft.labelling.pool import write_labelled
from regraft.labelling.review.desk import Desk, Unfit, reviewer_name
from regraft.labelling.review.items import nothing_to_show, queue_of
from regraft.labelling.review.server import HOST, ReviewServer
from regraft.labelling.survey import Surveyed
from regraft.labelling.verdicts import heard
from regraft.store import digest
from regraft.wording import plural

_FIRST_PORT, _PORTS = 20_000, 20_000
_TRIES = 8


@final
@dataclass(frozen=True)
class Review:
    """A review that waits for its browser.

    Attributes:
        server: bound to its port already.
        journal: where decisions go.
    """

    server: ReviewServer
    journal: Journal

    @property
    def address(self) -> str:
        """What to open."""
        return self.server.address

    def serve(self) -> None:
        """Answer until `close`, or until the user stops it."""
        self.server.serve_forever(poll_interval=0.2)

    def serve_until_stopped(self) -> None:
        """Answer until Ctrl-C, which is how a review ends.

        Raises:
            Interrupted: by SIGTERM.
        """
        try:
            self.serve()
        except Interrupted as stop:
            if stop.exit_code != 130:
                raise
        finally:
            self.server.server_close()

    def close(self) -> None:
        """Stop answering; from another thread than the one that serves."""
        self.server.shutdown()
        self.server.server_close()

    def write_labelled(self) -> Path | None:
        """What of the pool is labelled now, as a table beside it; None where nothing is.

        Raises:
            StoreError: it cannot be written.
        """
        queue = self.server.desk.queue
        if queue.pool is None:
            return None
        data = queue.dataset.path
        return write_labelled(data, queue.pool.path, queue.samples, self.journal)

    def summary(self) -> str:
        """What the journal holds now, and what it comes to for what was shown, in a sentence."""
        standing = self.journal.standing()
        queue = self.server.desk.queue
        found = heard(standing, queue.dataset, queue.samples).values()
        changed = sum(verdict.action == "change" for verdict in found)
        divided = sum(verdict.action == "divided" for verdict in found)
        people = len({decision.reviewer for decision in standing})
        said = f"{plural(len(standing), 'decision')} by {plural(people, 'reviewer')}: "
        return said + f"{plural(changed, 'label')} changed, {divided:,} divided"


def open_review(
    data: Path,
    found: Surveyed,
    *,
    reviewer: str | None = None,
    port: int | None = None,
    tell: Tell = silent,
) -> Review:
    """A review of what was found in some data.

    Args:
        data: as for `fit`.
        found: the survey of it.
        reviewer: who is asked; the user of this machine if None.
        port: if None, the data's own: then a page that was open when the server died finds what
            it could not send.
        tell: hears about a port that is taken.

    Raises:
        DataError: there is nothing to show.
        UsageError: the port is taken, or the reviewer's name is none.
    """
    journal = Journal(journal_of(data))
    if found.given is None:
        raise nothing_to_show(found, data)
    queue = queue_of(found, journal.standing())
    if not queue.items:
        why = found.facts["not_judged"] or "Nothing speaks against any label."
        raise DataError(f"There is nothing to review. {why}", where=data)
    desk = Desk(queue, journal, _reviewer(reviewer))
    return Review(_bound(desk, _port_of(journal.path), port, tell), journal)


def _reviewer(name: str | None) -> str:
    try:
        return reviewer_name(_user() if name is None else name)
    except Unfit as fault:
        raise UsageError(str(fault), where="--reviewer", mend="give a name") from fault


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a user without a name
        return "reviewer"


def _port_of(path: Path) -> int:
    """The data's own port, the same with every start."""
    return _FIRST_PORT + int(digest(str(path.resolve()))[:8], 16) % _PORTS


def _bound(desk: Desk, usual: int, wanted: int | None, tell: Tell) -> ReviewServer:
    ports = [wanted] if wanted is not None else [*range(usual, usual + _TRIES), 0]
    token = secrets.token_urlsafe(24)
    for port in ports:
        try:
            return ReviewServer(desk, port, token)
        except OSError:
            if wanted is None:
                tell(Said(f"Port {port} is taken; is a review of these data open already?"))
    raise UsageError(
        f"The port {wanted} cannot be used on {HOST}.",
        where="--port",
        mend="stop what uses it, or leave the option out",
    )
