"""Writers: rows leave in the shapes that trainers and tools read."""
