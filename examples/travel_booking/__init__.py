"""What an agency says to those who carry, house and drive its customers: messages and saga."""
