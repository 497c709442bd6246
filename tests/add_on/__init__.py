"""Home Assistant's add-on: its start, and its description."""
