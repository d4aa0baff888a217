"""Rules of the life of a job: pure, without clock, store or loop."""
