"""Fakes of peers: what stands on the other side of a socket, a tty or a child process."""
