"""The broker: sessions on paho's client, driven by our event loop."""
