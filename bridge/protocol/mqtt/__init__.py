"""MQTT packets from the broker, read from bytes."""
