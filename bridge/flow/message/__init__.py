"""The way of a message: broker to outbox, outbox to cloud, results to broker; and inbound."""
