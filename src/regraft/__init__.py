"""Transfer learning, measured."""
