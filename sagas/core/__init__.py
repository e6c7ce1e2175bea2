"""The pure core: no I/O, no clock, no chance. What is decided here, a shell carries out."""
