"""Simulated peers of the bridge: the cloud and the modem."""
