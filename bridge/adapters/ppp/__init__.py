"""The link by PPP: pppd as a child or a unit, and its routes."""
