"""SMS over the air: sent in segments, received in parts."""
