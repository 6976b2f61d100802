"""Each figure that the README or docs/measured.md claims, measured against the peers in one run."""
