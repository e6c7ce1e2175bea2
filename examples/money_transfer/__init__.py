"""What two banks and their screening say to each other about a transfer: messages and saga."""
