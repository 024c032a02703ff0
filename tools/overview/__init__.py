"""What spans the architectures: comparison, training curves, one page (`make overview`)."""
