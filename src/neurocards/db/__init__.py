"""All SQL, beside typed functions that take a transaction; migrations/ holds the schema and the money functions."""
