"""The SDK's face, against the simulated cloud and the simulated modem."""
