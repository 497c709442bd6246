"""What the documented names of the SDK stand on: the outbox, the loop's thread, the modem."""
