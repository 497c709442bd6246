"""Wi-Fi through whatever manages it on this system."""
