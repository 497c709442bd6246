"""The durable outbox: SQLite on the bridge's own disk."""
