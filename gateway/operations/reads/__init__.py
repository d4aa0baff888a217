"""What operators ask the store: reads for people, in pages of bounded cost."""
