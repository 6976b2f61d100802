from __future__ import annotations

import io
from typing import Any

import pytest
from PIL import Image
from report_samples import full_report


@pytest.fixture
def report() -> dict[str, Any]:
    """A report with all parts, to be changed at will."""
    return full_report()


@pytest.fixture(scope="session")
def jpeg() -> bytes:
    """A small picture."""
    file = io.BytesIO()
    Image.new("RGB", (16, 16), (30, 120, 60)).save(file, "JPEG")
    return file.getvalue()
