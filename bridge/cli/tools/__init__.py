"""The command-line tools of Hologram's SDK, by their documented names and options."""
