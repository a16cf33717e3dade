"""Pictures spoilt as scanners and cameras do it."""
