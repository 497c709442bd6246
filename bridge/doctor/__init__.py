"""What ``hologram-bridge doctor`` looks at. Each check is a small function that returns a `Finding`.

Nothing here disturbs a daemon that runs: it is asked through its control socket, and the port that it holds
is not opened.
"""
