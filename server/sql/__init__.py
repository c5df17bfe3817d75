"""What `server.store` writes to the database and reads from it. No other module but `server.schema` knows SQL."""
