"""The assemblies: parts of several packages built into one unit, for the daemon and the SDK."""
