"""Speed, measured beside a peer in one run: `make bench`. Nothing here is a test."""
