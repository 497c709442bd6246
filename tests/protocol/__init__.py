"""Tests of bridge.protocol."""
