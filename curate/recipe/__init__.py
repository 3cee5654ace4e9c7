"""Recipes: read, checked, and matched with the steps that they name."""
