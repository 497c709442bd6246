"""Wi-Fi through the system's own connection manager."""
