"""The simulator: a population of lenses, their light through the lens equation, and the camera."""
