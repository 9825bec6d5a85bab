"""CPU kernels: each writes into arrays that it is given, and neither allocates, validates nor returns."""
