"""Peers to try the bridge with: the simulated cloud."""
