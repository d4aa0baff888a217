"""What is asked of the database: `.sql` files and the modules that are generated from them."""
