"""SMS as the simulated modem's network encodes them."""
