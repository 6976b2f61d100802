"""One file per task: head, loss, metrics, decoding of outputs."""
