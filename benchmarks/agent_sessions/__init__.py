"""Transcripts of agents at work, replayed call by call."""
