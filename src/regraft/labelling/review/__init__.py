"""The review page: going through labels by keyboard, on this machine alone.

`items.py` says what is worth looking at, `desk.py` what a reviewer can ask and decide, `server.py`
carries that over HTTP to `page.html`, `page.css` and `page.js`, and `opening.py` puts it together.
"""
