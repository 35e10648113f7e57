"""What the benchmarks of both sides share: random models, processes apart, facts of the machine."""
