"""The inbound port: connections and datagrams that become messages."""
