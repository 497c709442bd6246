"""What the bridge publishes and takes by MQTT: commands read, reports written."""
