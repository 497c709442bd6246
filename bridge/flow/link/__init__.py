"""The link: wanted, dialled, watched and recovered. Of messages it knows demand alone."""
