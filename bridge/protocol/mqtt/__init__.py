"""MQTT packets of the broker, decoded from bytes."""
