"""Other engines, running the same saga; each in an environment of its own."""
