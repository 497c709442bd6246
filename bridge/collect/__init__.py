"""The other end of a fleet: webhooks come in by HTTP, and each reading goes to a broker or a stream.

A collector holds nothing that must not be lost. It answers 200 when the broker or the stream has acknowledged
all of a request, so that any number of collectors may stand behind a load balancer.

The way of a request::

    server.py ──> app.py ──> webhook.py ──> unpack.py ──> sink.py: mqtt.py, jetstream.py
    (sockets,     (routes,   (bytes to an   (an upload    (acknowledged, or `Unavailable`)
     deadlines)    statuses)  upload)        to messages)

The daemon imports nothing of this package.
"""
