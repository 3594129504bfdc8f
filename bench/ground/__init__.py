"""What the benchmarks share: servers, load, the sums, and the page they end up on."""
