"""What is printed on a console."""

from __future__ import annotations

import io
from typing import Any

from rich.console import Console


def printed(width: int, print_it: Any, *arguments: Any) -> str:
    page = io.StringIO()
    print_it(Console(file=page, width=width, highlight=False), *arguments)
    return page.getvalue()
