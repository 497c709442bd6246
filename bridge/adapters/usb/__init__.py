"""Modems on the USB: discovery, their ports by role, their power."""
