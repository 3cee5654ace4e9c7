"""Measures of text: words, repetition, scripts, phrases, personal data."""
