"""What the exchange asks of databases: `.sql` files and the modules that are generated from them."""
