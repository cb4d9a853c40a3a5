"""The pure part of m43: arrays in, arrays out, no files, no clock, no environment."""
