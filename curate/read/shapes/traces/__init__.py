"""Conversations that call tools, as families of models and coding agents write them down."""
