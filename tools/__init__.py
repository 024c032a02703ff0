"""What people run beside DVC. Tools may import stages, never the other way round."""
