"""Tests of bridge.adapters."""
