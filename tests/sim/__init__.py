"""The simulated cloud."""
