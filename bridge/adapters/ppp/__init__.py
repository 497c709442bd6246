"""The link by PPP: pppd as a child or a systemd unit, and its routes."""
