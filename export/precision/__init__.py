"""Fewer bits: half precision, int8 and int4, and the lines that they are calibrated on."""
