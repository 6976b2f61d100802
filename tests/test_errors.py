"""What the tree of errors says."""

from __future__ import annotations

from regraft.errors import DataError


def test_what_mends_it_stands_below_itself_however_many_lines_it_has() -> None:
    fault = DataError("No sample.", where="photos", mend="make folders:\n  cat/1.jpg\nor a table")
    assert str(fault).splitlines() == [
        "No sample.",
        "  where: photos",
        "  mend:  make folders:",
        "           cat/1.jpg",
        "         or a table",
    ]
