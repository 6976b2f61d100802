"""What is kept on disk: files that are whole or not there, and runs that remember what was done."""

from regraft.store.files import (
    Json,
    append_line,
    cache_folder,
    canonical,
    commit,
    commit_sealed,
    digest,
    file_sha256,
    flush,
    lock,
    quarantine,
    read_sealed,
    remembered_sha256,
    sealed_bytes,
)
from regraft.store.runs import Checkpoint, Fact, Outcome, Run, folder_beside

__all__ = [
    "Checkpoint",
    "Fact",
    "Json",
    "Outcome",
    "Run",
    "append_line",
    "cache_folder",
    "canonical",
    "commit",
    "commit_sealed",
    "digest",
    "file_sha256",
    "flush",
    "folder_beside",
    "lock",
    "quarantine",
    "read_sealed",
    "remembered_sha256",
    "sealed_bytes",
]
