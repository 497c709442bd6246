"""One modem over its AT port: started, watched, asked, and its SMS."""
