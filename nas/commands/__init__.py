"""The commands: what is typed, turned into a call of the library, and what is printed of its result."""
