"""What builds and checks the book; not installed with the library."""
