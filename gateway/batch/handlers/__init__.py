"""What jobs can run out of the box, one module each."""
