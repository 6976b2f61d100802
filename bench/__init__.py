"""Each figure that the README claims, measured against the peers in one run."""
