"""The demo application: an order goes through four services, all of it or none of it."""
