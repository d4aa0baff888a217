"""What operators may ask and do; the command line and every other front end use it."""
