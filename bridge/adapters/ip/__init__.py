"""The machine's own network: one exchange over TCP, one datagram over UDP, DNS look-ups."""
