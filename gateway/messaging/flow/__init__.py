"""What all stages share: the loop of a stage, the port it works for, what a port says of itself."""
