"""What a person types and reads: the command line, all drawing, the one error boundary."""
