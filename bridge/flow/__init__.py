"""The ways of a message: intake (MQTT to outbox), uplink (outbox to cloud), reports (outbox to MQTT)."""
