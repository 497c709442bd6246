"""One owner for each thing outside the process."""
