"""The composition root: the parts of the daemon put together, their life, and what a reload changes."""
