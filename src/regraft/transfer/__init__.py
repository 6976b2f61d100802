"""The cut and what it makes possible: compile, cache, train right of it, measure, keep.

`cut.py` freezes and certifies, `engine.py` serves what is frozen, `features.py` keeps what comes
out, `ladder.py` climbs from rung to rung with the loop of `fit.py`, and `model.py` is what is left
to deploy.
"""
