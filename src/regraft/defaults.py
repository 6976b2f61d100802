"""What verbs do where nobody says otherwise, for the command line, too, which imports no verb."""

from __future__ import annotations

MAX_BAD = 0.01
"""Share of files that may be bad."""
TRAIN = "ladder"
"""What `fit` trains."""
LABELS = "given"
"""What `fit` learns from."""
