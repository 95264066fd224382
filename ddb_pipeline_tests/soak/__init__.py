"""Long runs that are commands of their own: fuzzing and simulations."""
