"""Reads tunes from collections and scores, keeps those in scope, and gives each a split: train, val or test."""
