"""pppd and chat: how they are called, and what they say."""
