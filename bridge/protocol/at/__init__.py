"""AT commands: the engine, the meaning of lines, the answers of modems."""
