"""What `make reproduce` runs, and the page it makes of it."""
