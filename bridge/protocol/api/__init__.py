"""The bridge's own MQTT interface: commands parsed, reports written."""
