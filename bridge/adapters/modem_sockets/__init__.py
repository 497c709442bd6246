"""A modem's own TCP and UDP sockets, by AT commands."""
