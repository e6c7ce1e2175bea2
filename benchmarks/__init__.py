"""What the numbers of this project come from: `make bench`, `make bench-peers`; docs/benchmarks.md explains them."""
