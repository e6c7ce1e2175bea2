"""What is said about goods that a customer sends back: messages and saga."""
