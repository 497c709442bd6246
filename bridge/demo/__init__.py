"""The demo: a broker, a simulated cloud and the bridge on free ports, traffic of its own, and a view of it.

The view knows only what any user could know: what goes over MQTT, and the simulated cloud's log.
"""
