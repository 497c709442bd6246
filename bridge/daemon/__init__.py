"""The composition root: it builds the daemon's parts, runs them, and applies a reload."""
