"""Sets of shingles: pairs by Jaccard similarity and what connects them."""
