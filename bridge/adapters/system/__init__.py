"""The operating system: systemd, the control socket, metrics, threads, what only root may change."""
