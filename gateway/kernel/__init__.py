"""What every room may know: identifiers, errors, text, time, points to fail at. No rows, no clock of its own."""
