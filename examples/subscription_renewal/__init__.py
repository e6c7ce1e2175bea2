"""What is said about the renewal of a subscription: messages and saga."""
