"""What people are told: facts become sentences and findings."""
