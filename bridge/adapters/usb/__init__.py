"""Modems on the USB: found, their ports told apart, their power switched."""
