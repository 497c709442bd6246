"""The checks of ``hologram-bridge doctor``. Each check is a small function that returns a `Finding`.

No check disturbs a running daemon: it is queried through its control socket, and the port that it holds is
not opened.
"""
