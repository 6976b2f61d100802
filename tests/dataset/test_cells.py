"""Cells and bytes of the tables that are written for spreadsheets."""

import codecs
from pathlib import PurePosixPath

from hypothesis import given
from hypothesis import strategies as st

from regraft.dataset.cells import encoded, from_cell, path_cell, to_cell


@given(st.text("'=+-@\t\r1a,.", max_size=6))
def test_texts_go_through_cells_unchanged(text: str) -> None:
    assert from_cell(to_cell(text)) == text
    assert to_cell(text)[:1] not in ("=", "@", "\t", "\r")


@given(st.text("'=+-@\t\r1a,./", min_size=1, max_size=6))
def test_paths_in_cells_lead_to_the_same_file(path: str) -> None:
    assert PurePosixPath(path_cell(path)) == PurePosixPath(path)
    assert path_cell(path)[:1] not in ("=", "@", "\t", "\r")


def test_a_table_says_that_it_is_utf8_where_programs_might_guess() -> None:
    assert encoded("path,label\n") == b"path,label\n"
    assert encoded("path,Käfer\n") == codecs.BOM_UTF8 + "path,Käfer\n".encode()
    assert encoded("\udcff") == codecs.BOM_UTF8 + b"\\udcff"
