"""The engine behind the SDK's documented names: the outbox, the loop's thread, the modem."""
