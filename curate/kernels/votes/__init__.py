"""What several people's votes come to: how far they agree, and how strong the answers are."""
