"""hologram-bridge: a durable bridge from the local MQTT broker to the Hologram cellular cloud."""

__version__ = "0.1.0"
