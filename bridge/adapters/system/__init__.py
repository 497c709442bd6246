"""The operating system: systemd, the control socket, metrics, threads, paths that only root can change."""
