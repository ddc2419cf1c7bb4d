"""Decisions and procedures: pure, or over the ports. No framework, no clock, no disk."""
