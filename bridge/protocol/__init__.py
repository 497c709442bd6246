"""Bytes in, values out: the formats of other people's documents."""
