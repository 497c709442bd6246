"""The live view of a running bridge, by MQTT alone: for ``hologram-bridge watch`` and for the demo.

A message's life is shown from its result: when it was taken, how long it waited, its attempts and bytes. How
many messages wait is in the health. Where the bridge publishes ``message.queued``, those that wait are shown.
"""
