"""What the bridge knows and tells of itself."""
