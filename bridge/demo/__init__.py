"""The demo: a broker, a simulated cloud and the bridge on free ports, with its own traffic and a view of it.

The view uses only sources that any user has: MQTT messages, and the simulated cloud's log.
"""
