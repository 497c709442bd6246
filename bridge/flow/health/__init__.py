"""Health, events, status line, watchdog and Home Assistant's discovery."""
