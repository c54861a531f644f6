"""The commands: each turns its options into a call of the library and prints the result."""
