"""One modem over its AT port: start, supervision, queries, SMS."""
