"""The cut and what it makes possible: compile, cache, train right of it, measure, keep.

`cut.py` freezes and certifies, `engine.py` serves what is frozen, `features.py` keeps what comes
out. What rungs stand on is in `ground.py`, how one is planned in `rungs.py` and how it is trained,
with the loop of `fit.py`, in `fine_tuning.py`; `ladder.py` climbs from one to the next, and
`model.py` is what is left to deploy.
"""
