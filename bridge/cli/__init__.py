"""The commands of ``hologram-bridge``, one module each; imported only when called."""
