"""Tables of Parquet and Arrow: what they hold, and what they would unpack to."""
