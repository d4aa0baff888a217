"""What people are told: facts become sentences, findings and remedies."""
