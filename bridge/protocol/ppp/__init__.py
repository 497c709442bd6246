"""pppd and chat: their arguments, and their output."""
