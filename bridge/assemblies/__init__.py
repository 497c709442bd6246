"""The assemblies: parts of several packages put together as one, for the daemon and the SDK alike."""
