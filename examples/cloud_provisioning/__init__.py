"""What is said to a cloud while an environment is made: messages and saga."""
