"""The database: embedded or by URL, connections, migrations, transactions, named statements."""
