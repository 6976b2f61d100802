"""German manual pages as plain texts, from the Debian package manpages-de.

Fetched, pinned and unpacked as the rest of the data (`data.py`); what roff writes between the words
is taken out, one text file a page.
"""

from __future__ import annotations

import gzip
import re
from pathlib import Path

from bench import data

MANPAGES = data.Package(
    client="apt-get",
    name="manpages-de",
    version="4.18.1-1",
    sha256="37d2e7ee51f22952aecec3af93647ff59194a3c74bb7a694560f49c7f7ab3978",
    member="usr/share/man/de/",
)
_NAMED = {"aq": "'", "dq": '"', "en": "–", "em": "—", "bu": "•", "co": "©", "rs": "\\", "ti": "~"}
_BREAKS = ("PP", "P", "LP", "TP", "IP", "HP", "RS", "RE", "br", "sp", "nf", "fi", "TQ")
_TEXT = ("B", "I", "BR", "RB", "BI", "IB", "IR", "RI", "SM", "SB", "SH", "SS")


def folder(root: Path = data.DATA) -> Path:
    """A folder with one text file a page.

    Raises:
        Unavailable: the package cannot be fetched.
    """
    target = root / "manpages-de-texts"
    if target.is_dir():
        return target
    pages = data.unpacked(MANPAGES, root)
    with data.made(target) as scratch:
        for file in sorted(pages.rglob("*.gz")):
            text = plain(gzip.decompress(file.read_bytes()).decode("utf-8", "replace"))
            if len(text) > 200:
                (scratch / f"{file.name.removesuffix('.gz')}.txt").write_text(text)
    return target


def plain(roff: str) -> str:
    """The words of a page: no macros, no fonts, no comments."""
    lines: list[str] = []
    for line in roff.splitlines():
        if line.startswith((".", "'")):
            name, _, rest = line[1:].strip().partition(" ")
            if name in _BREAKS:
                lines.append("")
            if name in ("SH", "SS"):
                lines += ["", rest.strip('" '), ""]
            elif name in _TEXT and rest:
                parts = re.findall(r'"([^"]*)"|(\S+)', rest)
                glue = " " if len(name) == 1 else ""
                lines.append(glue.join(quoted or bare for quoted, bare in parts))
        else:
            lines.append(line)
    text = "\n".join(lines)
    text = re.sub(r"\\f(\[\w*\]|\(\w\w|.)|\\s[+-]?\d+|\\[,/:&|^]", "", text)
    text = re.sub(r"\\\((\w\w)|\\\[(\w\w)\]", lambda m: _NAMED.get(m[1] or m[2], ""), text)
    text = text.replace("\\-", "-").replace("\\~", " ").replace("\\ ", " ").replace("\\e", "\\")
    text = re.sub(r'\\".*', "", text).replace("\\%", "")
    text = re.sub(r"(?<=\S)\n(?=\S)", " ", text)
    return re.sub(r"\n{2,}", "\n\n", text).strip()
