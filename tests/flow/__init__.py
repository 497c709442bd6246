"""Tests of the flow between the parts."""
