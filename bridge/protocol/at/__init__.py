"""AT commands: the engine, what lines mean, and what modems answer."""
