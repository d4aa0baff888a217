"""What operators ask the store: `.sql` files and the modules that are generated from them."""
