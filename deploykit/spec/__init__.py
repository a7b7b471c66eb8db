"""What was asked: the spec as checked, frozen data. `load` reads it, `model` says what it may hold."""
