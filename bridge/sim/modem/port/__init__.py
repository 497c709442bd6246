"""One serial port of the simulated modem: bytes, lines, commands and their results."""
